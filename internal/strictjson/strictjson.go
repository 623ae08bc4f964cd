// Package strictjson scans JSON (RFC 8259) without decoding it. It finds objects that have
// a member twice. Package encoding/json accepts them, but other parsers may read another
// value.
package strictjson

import (
	"errors"
	"slices"
	"unicode/utf8"
)

// MaxDepth is how deep objects and arrays may be nested.
const MaxDepth = 32

// The errors of this package. A text with several errors has the first one.
var (
	ErrInvalid  = errors.New("not valid JSON, or not of the form that is asked for")
	ErrRepeated = errors.New("an object has a member twice") // RFC 8259 section 4
	ErrDeep     = errors.New("objects and arrays are nested too deep")
)

// Check returns the first error in text and the offset after it. It accepts numbers that a
// float64 cannot hold, and reads bytes that are not UTF-8 as encoding/json does.
func Check(text []byte) (offset int, err error) {
	s := scanner{text: string(text)}
	s.next()
	err = s.whole(s.value(0))
	return s.at, err
}

// Object checks text, which must be a JSON object in UTF-8 whose numbers fit a float64. It
// calls member for each of the members, in order. The argument value is the text of the
// value. If Object returns an error, the caller must not use what member was called with.
// Object allocates little, because a verifier calls it for the tokens of unverified
// callers.
func Object(text string, member func(name, value string)) error {
	if !utf8.ValidString(text) {
		return ErrInvalid
	}
	s := scanner{text: text, float64s: true}
	s.next()
	return s.whole(s.object(1, member))
}

// First returns the text of the value of the member name of text, which must be a JSON
// object. If the object has the member twice, First returns the first one. If the object
// does not have it, First returns "". It does not find a member whose name is written with
// escapes. First does not look for repeated members, so the text costs less than that of
// Object.
func First(text, name string) (value string, err error) {
	s := scanner{text: text, repeats: true}
	s.next()
	err = s.whole(s.object(1, func(n, v string) {
		if n == name && value == "" {
			value = v
		}
	}))
	return value, err
}

// Array calls element with the text of each element of value, and returns true. It returns
// false if value is not an array. The argument value is from Object or First.
func Array(value string, element func(value string)) bool {
	s := scanner{text: value, repeats: true}
	return s.next() == '[' && s.array(1, element) == nil
}

type scanner struct {
	text     string
	at       int
	repeats  bool // whether an object may have a member twice
	float64s bool // whether each number must fit a float64

	// names[:n] are names of the objects that have not ended, innermost last. An object has
	// a map of its names once names is full, so that a usual text does not allocate.
	names [24]string
	n     int
}

// whole returns err, which the value of the text has, or ErrInvalid if another text follows.
func (s *scanner) whole(err error) error {
	if err == nil && (s.next() != 0 || s.at < len(s.text)) {
		return ErrInvalid
	}
	return err
}

// next skips white space and returns the byte after it, or 0 at the end of the text.
func (s *scanner) next() byte {
	for ; s.at < len(s.text); s.at++ {
		if c := s.text[s.at]; c != ' ' && c != '\t' && c != '\r' && c != '\n' {
			return c
		}
	}
	return 0
}

// value scans a value inside depth objects and arrays. The text has no white space before
// the value.
func (s *scanner) value(depth int) error {
	if s.at == len(s.text) {
		return ErrInvalid
	}
	switch s.text[s.at] {
	case '{':
		return s.object(depth+1, nil)
	case '[':
		return s.array(depth+1, nil)
	case '"':
		_, err := s.quoted()
		return err
	case 't':
		return s.literal("true")
	case 'f':
		return s.literal("false")
	case 'n':
		return s.literal("null")
	default:
		return s.number()
	}
}

// object scans an object. It calls member, if not nil, for each member.
func (s *scanner) object(depth int, member func(name, value string)) error {
	empty, err := s.begin('{', '}', depth)
	if empty || err != nil {
		return err
	}
	var many map[string]bool
	outer := s.n
	for {
		if s.next() != '"' {
			return ErrInvalid
		}
		name, err := s.quoted()
		if err != nil {
			return err
		}
		if !s.repeats {
			name = unquote(name)
			if many, err = s.add(name, outer, many); err != nil {
				return err
			}
		}
		if s.next() != ':' {
			return ErrInvalid
		}
		s.at++
		s.next()
		begin := s.at
		if err := s.value(depth); err != nil {
			return err
		}
		if member != nil {
			member(name, s.text[begin:s.at])
		}
		if ended, err := s.end('}'); ended || err != nil {
			s.n = outer
			return err
		}
	}
}

// array scans an array. It calls element, if not nil, for each element.
func (s *scanner) array(depth int, element func(value string)) error {
	empty, err := s.begin('[', ']', depth)
	if empty || err != nil {
		return err
	}
	for {
		s.next()
		begin := s.at
		if err := s.value(depth); err != nil {
			return err
		}
		if element != nil {
			element(s.text[begin:s.at])
		}
		if ended, err := s.end(']'); ended || err != nil {
			return err
		}
	}
}

// begin scans the first byte of an object or array, and all of it if it is empty.
func (s *scanner) begin(first, last byte, depth int) (empty bool, err error) {
	if !s.is(first) {
		return false, ErrInvalid
	}
	s.at++
	if depth > MaxDepth {
		return false, ErrDeep
	}
	if empty = s.next() == last; empty {
		s.at++
	}
	return empty, nil
}

// end scans the comma or the last byte after a member or element.
func (s *scanner) end(last byte) (ended bool, err error) {
	c := s.next()
	if c != ',' && c != last {
		return false, ErrInvalid
	}
	s.at++
	return c == last, nil
}

// add adds the name of a member to the names of its object: many or, while many is nil,
// those from outer on.
func (s *scanner) add(name string, outer int, many map[string]bool) (map[string]bool, error) {
	switch {
	case slices.Contains(s.names[outer:s.n], name), many[name]:
		return many, ErrRepeated
	case s.n < len(s.names):
		s.names[s.n] = name
		s.n++
	case many == nil:
		many = make(map[string]bool)
		fallthrough
	default:
		many[name] = true
	}
	return many, nil
}
