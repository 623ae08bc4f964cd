// Package strictjson finds what encoding/json lets pass and what parsers do not
// agree on: an object that names a member twice.
package strictjson

import (
	"encoding/json"
	"slices"
)

// MaxDepth bounds how deep objects and arrays may stand in each other.
const MaxDepth = 32

// A Fault is what is wrong with a document.
type Fault int

// The faults.
const (
	None  Fault = iota
	Twice       // an object names a member twice (RFC 8259 section 4)
	Deep        // deeper than MaxDepth
)

// Check looks into text, which must be valid JSON as encoding/json has it, and
// returns the first fault and the offset behind it. It allocates little: it sees
// every token that anybody sends.
func Check(text []byte) (fault Fault, offset int) {
	s := scanner{text: text}
	return s.value(0), s.at
}

type scanner struct {
	text []byte
	at   int
}

// next passes over white space and returns the byte that follows.
func (s *scanner) next() byte {
	for s.at < len(s.text) {
		switch c := s.text[s.at]; c {
		case ' ', '\t', '\r', '\n':
			s.at++
		default:
			return c
		}
	}
	return 0
}

// value passes over one value.
func (s *scanner) value(depth int) Fault {
	switch c := s.next(); c {
	case '{', '[':
		if depth == MaxDepth {
			return Deep
		}
		s.at++
		if c == '{' {
			return s.object(depth)
		}
		return s.array(depth)
	case '"':
		s.quoted()
	default: // a number, true, false or null
		for s.at < len(s.text) && !delimiter(s.text[s.at]) {
			s.at++
		}
	}
	return None
}

func delimiter(c byte) bool {
	switch c {
	case ',', ']', '}', ' ', '\t', '\r', '\n':
		return true
	}
	return false
}

func (s *scanner) array(depth int) Fault {
	for {
		switch s.next() {
		case ']':
			s.at++
			return None
		case ',':
			s.at++
		case 0:
			return None
		default:
			if fault := s.value(depth + 1); fault != None {
				return fault
			}
		}
	}
}

func (s *scanner) object(depth int) Fault {
	var few [8]string
	names := names{few: few[:0]}
	for {
		switch s.next() {
		case '}':
			s.at++
			return None
		case ',':
			s.at++
		case '"':
			if !names.add(s.quoted()) {
				return Twice
			}
			s.next()
			s.at++ // the colon
			if fault := s.value(depth + 1); fault != None {
				return fault
			}
		default:
			return None // not valid, and not for us to say
		}
	}
}

// quoted passes over a string and returns what it says.
func (s *scanner) quoted() string {
	begin := s.at
	escaped := false
	for s.at++; s.at < len(s.text); s.at++ {
		switch s.text[s.at] {
		case '\\':
			escaped = true
			s.at++
		case '"':
			s.at++
			return name(s.text[begin:s.at], escaped)
		}
	}
	return ""
}

// name returns what quoted says. What is not UTF-8 encoding/json reads as
// something else, too.
func name(quoted []byte, escaped bool) string {
	for _, c := range quoted {
		escaped = escaped || c >= 0x80
	}
	if !escaped {
		return string(quoted[1 : len(quoted)-1])
	}
	var text string
	_ = json.Unmarshal(quoted, &text) // valid, as the whole is
	return text
}

// names are those of one object: a list while they are few, since most objects
// have a handful, and then a set.
type names struct {
	few  []string
	many map[string]struct{}
}

// maxFew is how many names are looked through one by one.
const maxFew = 16

// add reports whether the name is new.
func (n *names) add(name string) bool {
	if n.many == nil {
		if slices.Contains(n.few, name) {
			return false
		}
		if len(n.few) < maxFew {
			n.few = append(n.few, name)
			return true
		}
		n.many = make(map[string]struct{}, 2*maxFew)
		for _, one := range n.few {
			n.many[one] = struct{}{}
		}
	}
	if _, twice := n.many[name]; twice {
		return false
	}
	n.many[name] = struct{}{}
	return true
}
