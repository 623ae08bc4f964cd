package secret

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"unicode/utf8"
)

// maxDepth bounds how deep objects and lists may lie in each other. A Secret
// needs about eight.
const maxDepth = 64

// A value is a place in JSON text, from its first byte to behind its last.
type value struct{ start, end int }

// A member is one member of an object: the white space before its key, its key
// as text, its value, and the white space behind.
type member struct {
	key       string
	lead      value
	keyAt     value
	val       value
	trail     value
	rewritten []byte // instead of the bytes of val
}

// An object is a JSON object with all that stands between its braces.
type object struct {
	at      value
	members []member
	blank   value // the white space of an object without members
}

func (o *object) find(key string) *member {
	for i := range o.members {
		if o.members[i].key == key {
			return &o.members[i]
		}
	}
	return nil
}

func (o *object) remove(key string) {
	o.members = slices.DeleteFunc(o.members, func(m member) bool { return m.key == key })
}

// render returns o as text, with the bytes of in for all that was not changed.
func (o *object) render(in []byte) []byte {
	var b bytes.Buffer
	b.WriteByte('{')
	for i, m := range o.members {
		if i > 0 {
			b.WriteByte(',')
		}
		b.Write(in[m.lead.start:m.lead.end])
		if m.keyAt.end > 0 {
			b.Write(in[m.keyAt.start:m.val.start])
		} else { // a new one
			key, _ := json.Marshal(m.key)
			b.Write(append(key, ": "...))
		}
		if m.rewritten != nil {
			b.Write(m.rewritten)
		} else {
			b.Write(in[m.val.start:m.val.end])
		}
		b.Write(in[m.trail.start:m.trail.end])
	}
	if len(o.members) == 0 {
		b.Write(in[o.blank.start:o.blank.end])
	}
	b.WriteByte('}')
	return b.Bytes()
}

// set gives the member key the text of a JSON value, and adds it if it is not
// there: laid out as the others are.
func (o *object) set(key string, text []byte) {
	if m := o.find(key); m != nil {
		m.rewritten = text
		return
	}
	m := member{key: key, rewritten: text}
	if n := len(o.members); n > 0 {
		last := &o.members[n-1]
		m.lead = last.lead
		if n > 1 {
			m.lead = o.members[1].lead
		}
		m.trail, last.trail = last.trail, value{}
	}
	o.members = append(o.members, m)
}

var (
	errNotJSON = errors.New("standard input is not one JSON document; pipe the answer of kubectl get secret NAME -o json")
	errTwice   = errors.New("a JSON object on standard input names a member twice; which one counts is anybody's guess, so remove one")
	errDeep    = fmt.Errorf("JSON on standard input lies more than %d deep; this is no Secret", maxDepth)
)

// check reports whether text is one JSON document in which no object names a
// member twice.
func check(text []byte) error {
	if !utf8.Valid(text) || !json.Valid(text) {
		return errNotJSON
	}
	s := scanner{text: text}
	s.white()
	s.value(0)
	return s.err
}

// A scanner goes through text that is known to be valid JSON.
type scanner struct {
	text []byte
	at   int
	err  error
}

// white skips white space (RFC 8259 section 2).
func (s *scanner) white() value {
	start := s.at
	for s.at < len(s.text) && bytes.IndexByte([]byte(" \t\r\n"), s.text[s.at]) >= 0 {
		s.at++
	}
	return value{start, s.at}
}

func (s *scanner) fail(err error) {
	if s.err == nil {
		s.err = err
	}
	s.at = len(s.text)
}

// value skips a value, looking into it for members named twice.
func (s *scanner) value(depth int) value {
	start := s.at
	if depth > maxDepth {
		s.fail(errDeep)
	}
	if s.err != nil {
		return value{start, s.at}
	}
	switch s.text[s.at] {
	case '{':
		s.object(depth)
	case '[':
		s.list(depth)
	case '"':
		s.str()
	default: // a number, true, false or null
		for s.at < len(s.text) && bytes.IndexByte([]byte(" \t\r\n,]}"), s.text[s.at]) < 0 {
			s.at++
		}
	}
	return value{start, s.at}
}

// str skips one string.
func (s *scanner) str() value {
	start := s.at
	for s.at++; s.text[s.at] != '"'; s.at++ {
		if s.text[s.at] == '\\' {
			s.at++
		}
	}
	s.at++
	return value{start, s.at}
}

func (s *scanner) list(depth int) {
	s.at++
	s.white()
	for s.err == nil && s.text[s.at] != ']' {
		s.value(depth + 1)
		s.comma()
	}
	s.close()
}

// comma skips what parts the elements of a list or the members of an object.
func (s *scanner) comma() {
	s.white()
	if s.err == nil && s.text[s.at] == ',' {
		s.at++
	}
	s.white()
}

func (s *scanner) close() {
	if s.err == nil {
		s.at++
	}
}

// object reads an object.
func (s *scanner) object(depth int) (o object) {
	o.at.start = s.at
	s.at++
	lead := s.white()
	o.blank = lead
	seen := map[string]struct{}{}
	for s.err == nil && s.text[s.at] != '}' {
		m := member{lead: lead, keyAt: s.str()}
		if json.Unmarshal(s.text[m.keyAt.start:m.keyAt.end], &m.key) != nil {
			s.fail(errNotJSON)
			break
		}
		if _, twice := seen[m.key]; twice {
			s.fail(errTwice)
			break
		}
		seen[m.key] = struct{}{}
		s.white()
		s.at++ // the colon
		s.white()
		m.val = s.value(depth + 1)
		if s.err != nil {
			break
		}
		m.trail = s.white()
		if s.text[s.at] == ',' {
			s.at++
			lead = s.white()
		}
		o.members = append(o.members, m)
	}
	s.close()
	o.at.end = s.at
	return o
}

// objectAt reads the object at v, which has been checked.
func objectAt(text []byte, v value) (object, bool) {
	if text[v.start] != '{' {
		return object{}, false
	}
	s := scanner{text: text, at: v.start}
	return s.object(0), true
}
