// Package strictjson finds JSON objects that have a member twice. Package encoding/json
// accepts them, but other parsers may read another value.
package strictjson

import (
	"encoding/json"
	"errors"
)

// MaxDepth is how deep objects and arrays may be nested.
const MaxDepth = 32

// The errors of Check.
var (
	ErrRepeated = errors.New("an object has a member twice") // RFC 8259 section 4
	ErrDeep     = errors.New("objects and arrays are nested too deep")
)

// Check scans text, which must be valid JSON, and returns the first error and the offset
// after it. It allocates little, because a verifier calls it for the tokens of unverified
// callers.
func Check(text []byte) (offset int, err error) {
	s := scanner{text: text}
	err = s.nested(0)
	return s.at, err
}

// StringMember returns the string in the member name of text, which must be a valid JSON
// object. If the object has the member twice, StringMember returns the first one. It does
// not find a member whose name is written with escapes. It allocates little, as Check
// does.
func StringMember(text []byte, name string) (value string, has, isString bool) {
	s, depth := scanner{text: text}, 0
	for s.at < len(s.text) {
		c := s.text[s.at]
		s.at++
		switch c {
		case '{', '[':
			depth++
		case '}', ']':
			depth--
		case '"':
			if quoted := s.quoted(); depth != 1 || string(quoted[1:len(quoted)-1]) != name || !s.isName() {
				continue
			}
			for s.text[s.at] != ':' {
				s.at++
			}
			s.at++
			for s.text[s.at] == ' ' || s.text[s.at] == '\t' || s.text[s.at] == '\r' || s.text[s.at] == '\n' {
				s.at++
			}
			if s.text[s.at] != '"' {
				return "", true, false
			}
			s.at++
			return unquote(s.quoted()), true, true
		}
	}
	return "", false, false
}

type scanner struct {
	text []byte
	at   int
}

// nested scans the rest of an object or array.
func (s *scanner) nested(depth int) error {
	if depth > MaxDepth {
		return ErrDeep
	}
	names := make(map[string]bool)
	for s.at < len(s.text) {
		c := s.text[s.at]
		s.at++
		switch c {
		case '{', '[':
			if err := s.nested(depth + 1); err != nil {
				return err
			}
		case '}', ']':
			return nil
		case '"':
			quoted := s.quoted()
			if !s.isName() {
				continue
			}
			name := unquote(quoted)
			if names[name] {
				return ErrRepeated
			}
			names[name] = true
		}
	}
	return nil
}

// quoted scans the rest of a string and returns it with its quotes.
func (s *scanner) quoted() []byte {
	begin := s.at - 1
	for s.text[s.at] != '"' {
		if s.text[s.at] == '\\' {
			s.at++
		}
		s.at++
	}
	s.at++
	return s.text[begin:s.at]
}

// isName reports whether the string that was just scanned is the name of a member, which
// means that a colon follows.
func (s *scanner) isName() bool {
	for _, c := range s.text[s.at:] {
		switch c {
		case ' ', '\t', '\r', '\n':
		default:
			return c == ':'
		}
	}
	return false
}

// unquote returns a string as encoding/json reads it.
func unquote(quoted []byte) string {
	for _, c := range quoted {
		if c == '\\' || c >= 0x80 {
			var name string
			_ = json.Unmarshal(quoted, &name) // valid, because the whole text is
			return name
		}
	}
	return string(quoted[1 : len(quoted)-1])
}
