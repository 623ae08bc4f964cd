package jwks

import (
	"bytes"
	"encoding/json"
	"errors"
	"unicode/utf8"

	"github.com/tokenagent/tokenagent/internal/strictjson"
)

// object returns the members of a document that is one JSON object. It rejects a repeated
// member name, because parsers disagree about which value counts (RFC 8259 section 4).
// RFC 7517 section 4 permits the rejection.
func (p *parser) object(text []byte) (map[string]json.RawMessage, bool) {
	var top map[string]json.RawMessage
	err := json.Unmarshal(text, &top)
	syntax, broken := errors.AsType[*json.SyntaxError](err)
	switch {
	case broken:
		p.line = lineAt(text, syntax.Offset)
		p.fail("not JSON; a key set is one object, whole and nothing behind it")
		return nil, false
	case err != nil || top == nil:
		p.fail("JSON, but no object; a key set is one")
		return nil, false
	case !utf8.Valid(text):
		p.fail("not UTF-8, as JSON must be (RFC 8259 section 8.1)")
		return nil, false
	}
	switch problem, at := strictjson.Check(text); problem {
	case strictjson.Twice:
		p.line = lineAt(text, int64(at))
		p.fail("an object has a member twice; keep one")
		return nil, false
	case strictjson.Deep:
		p.line = lineAt(text, int64(at))
		p.fail("objects and arrays stand too deep in each other; a key set is flat")
		return nil, false
	default:
		return top, true
	}
}

func lineAt(text []byte, offset int64) int {
	return 1 + bytes.Count(text[:min(int64(len(text)), max(offset-1, 0))], []byte("\n"))
}
