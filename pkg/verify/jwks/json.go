package jwks

import (
	"bytes"
	"encoding/json"
	"errors"
	"unicode/utf8"
)

// object returns the members of a document that is one JSON object. It refuses
// one in which an object names a member twice: which of them counts, parsers do
// not agree on (RFC 8259 section 4; RFC 7517 section 4 allows to refuse them).
func (p *parser) object(text []byte) (map[string]json.RawMessage, bool) {
	var top map[string]json.RawMessage
	err := json.Unmarshal(text, &top)
	syntax, broken := errors.AsType[*json.SyntaxError](err)
	switch {
	case broken:
		p.line = lineAt(text, syntax.Offset)
		p.fault("not JSON; a key set is one object, whole and nothing behind it")
		return nil, false
	case err != nil || top == nil:
		p.fault("JSON, but no object; a key set is one")
		return nil, false
	case !utf8.Valid(text):
		p.fault("not UTF-8, as JSON must be (RFC 8259 section 8.1)")
		return nil, false
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	if fault := walk(d, 0); fault != "" {
		p.line = lineAt(text, d.InputOffset())
		p.fault("%s", fault)
		return nil, false
	}
	return top, true
}

func lineAt(text []byte, offset int64) int {
	return 1 + bytes.Count(text[:min(int64(len(text)), max(offset-1, 0))], []byte("\n"))
}

// maxDepth bounds how deep objects and arrays may stand in each other.
const maxDepth = 32

// walk passes over one value and returns what is wrong with it. That it is JSON
// is known.
func walk(d *json.Decoder, depth int) (fault string) {
	const broken = "not JSON"
	t, err := d.Token()
	if err != nil {
		return broken
	}
	open, nested := t.(json.Delim)
	switch {
	case !nested:
		return ""
	case depth == maxDepth:
		return "objects and arrays stand too deep in each other; a key set is flat"
	}
	names := make(map[string]struct{})
	for d.More() {
		if open == '{' {
			t, err := d.Token()
			name, ok := t.(string)
			if err != nil || !ok {
				return broken
			}
			if _, twice := names[name]; twice {
				return "an object has a member twice; keep one"
			}
			names[name] = struct{}{}
		}
		if fault := walk(d, depth+1); fault != "" {
			return fault
		}
	}
	if _, err := d.Token(); err != nil { // the closing bracket
		return broken
	}
	return ""
}
