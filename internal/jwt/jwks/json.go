package jwks

import (
	"bytes"
	"encoding/json"
	"errors"
	"unicode/utf8"

	"github.com/tokenagent/tokenagent/internal/strictjson"
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
	switch fault, at := strictjson.Check(text); fault {
	case strictjson.Twice:
		p.line = lineAt(text, int64(at))
		p.fault("an object has a member twice; keep one")
		return nil, false
	case strictjson.Deep:
		p.line = lineAt(text, int64(at))
		p.fault("objects and arrays stand too deep in each other; a key set is flat")
		return nil, false
	default:
		return top, true
	}
}

func lineAt(text []byte, offset int64) int {
	return 1 + bytes.Count(text[:min(int64(len(text)), max(offset-1, 0))], []byte("\n"))
}
