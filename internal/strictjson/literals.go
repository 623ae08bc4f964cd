package strictjson

import (
	"encoding/json"
	"strconv"
	"strings"
	"unicode/utf8"
)

// String returns the string that value is the text of, as encoding/json reads it. It
// returns false if value is not a string. The argument value is from Object, First or
// Array.
func String(value string) (string, bool) {
	if len(value) < 2 || value[0] != '"' {
		return "", false
	}
	return unquote(value[1 : len(value)-1]), true
}

// Number returns the number that value is the text of, as encoding/json reads it. It
// returns false if value is not a number. The argument value is from Object, First or
// Array.
func Number(value string) (float64, bool) {
	if value == "" || value[0] != '-' && !isDigit(value[0]) {
		return 0, false
	}
	n, err := strconv.ParseFloat(value, 64)
	return n, err == nil
}

// quoted scans a string and returns the text between its quotes.
func (s *scanner) quoted() (string, error) {
	begin := s.at + 1
	for i := begin; i < len(s.text); i++ {
		switch c := s.text[i]; {
		case c == '"':
			s.at = i + 1
			return s.text[begin:i], nil
		case c < ' ':
			return "", ErrInvalid
		case c != '\\':
		case i+1 < len(s.text) && strings.IndexByte(`"\/bfnrt`, s.text[i+1]) >= 0:
			i++
		case i+5 < len(s.text) && s.text[i+1] == 'u' && isHex(s.text[i+2:i+6]):
			i += 5
		default:
			return "", ErrInvalid
		}
	}
	return "", ErrInvalid
}

func isHex(digits string) bool {
	for i := range len(digits) {
		if c := digits[i]; !isDigit(c) && (c|0x20 < 'a' || c|0x20 > 'f') {
			return false
		}
	}
	return true
}

// literal scans the literal name, true, false or null.
func (s *scanner) literal(name string) error {
	if !strings.HasPrefix(s.text[s.at:], name) {
		return ErrInvalid
	}
	s.at += len(name)
	return nil
}

// number scans a number (RFC 8259 section 6).
func (s *scanner) number() error {
	begin, large := s.at, false
	if s.is('-') {
		s.at++
	}
	if s.is('0') {
		s.at++
	} else if !s.digits() {
		return ErrInvalid
	}
	if s.is('.') {
		if s.at++; !s.digits() {
			return ErrInvalid
		}
	}
	if s.is('e') || s.is('E') {
		s.at++
		if s.is('+') || s.is('-') {
			s.at++
		}
		if !s.digits() {
			return ErrInvalid
		}
		large = true
	}
	const fits = 300 // a float64 holds any number with so few digits and no exponent
	if s.float64s && (large || s.at-begin > fits) {
		if _, ok := Number(s.text[begin:s.at]); !ok {
			return ErrInvalid
		}
	}
	return nil
}

// is reports whether the next byte is c.
func (s *scanner) is(c byte) bool { return s.at < len(s.text) && s.text[s.at] == c }

// digits scans digits and reports whether there were any.
func (s *scanner) digits() bool {
	begin := s.at
	for s.at < len(s.text) && isDigit(s.text[s.at]) {
		s.at++
	}
	return s.at > begin
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

// unquote returns the string whose text stands between quotes, as encoding/json reads it.
func unquote(text string) string {
	for i := range len(text) {
		if text[i] == '\\' || text[i] >= utf8.RuneSelf {
			var s string
			_ = json.Unmarshal([]byte(`"`+text+`"`), &s) // valid, because it was scanned
			return s
		}
	}
	return text
}
