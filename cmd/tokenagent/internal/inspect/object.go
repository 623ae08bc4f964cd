package inspect

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/termsafe"
)

// An Object is a JSON object whose members stand in the order in which they were
// written. It has been checked to be well formed.
type Object []Member

// A Member is one of an object, with its value as it was written.
type Member struct {
	Name  string
	Value json.RawMessage
}

var (
	errNoObject = errors.New("there is no JSON object")
	errTwice    = errors.New("a member stands twice, so that one reader takes the first and another the last; such tokens are refused")
	errNumber   = errors.New("a number is larger than any that is read; such tokens are refused")
	errUTF8     = errors.New("bytes that are not UTF-8, which readers take for different things; such tokens are refused")
	errDeep     = errors.New("objects or arrays stand more than 32 deep in each other; such tokens are refused")
)

// maxDepth is that of package verify.
const maxDepth = 32

// parseObject parses text. With errTwice, errDeep, errNumber and errUTF8 the object is returned, too.
func parseObject(text []byte) (Object, error) {
	d := json.NewDecoder(bytes.NewReader(text))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return nil, errNoObject
	}
	o := Object{}
	for d.More() {
		t, err := d.Token()
		name, ok := t.(string)
		if err != nil || !ok {
			return nil, errNoObject
		}
		var value json.RawMessage
		if err := d.Decode(&value); err != nil {
			return nil, errNoObject
		}
		o = append(o, Member{name, value})
	}
	if _, err := d.Token(); err != nil {
		return nil, errNoObject
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errNoObject
	}
	if !utf8.Valid(text) {
		return o, errUTF8
	}
	d = json.NewDecoder(bytes.NewReader(text))
	d.UseNumber() // else a number that is too large is an error like any other
	return o, unambiguous(d, 0)
}

// unambiguous goes through one value.
func unambiguous(d *json.Decoder, depth int) error {
	t, err := d.Token()
	open, nested := t.(json.Delim)
	switch {
	case err != nil:
		return errNoObject
	case !nested:
		if n, ok := t.(json.Number); ok {
			if _, err := n.Float64(); err != nil {
				return errNumber
			}
		}
		return nil
	case depth == maxDepth:
		return errDeep
	}
	names := map[string]bool{}
	for d.More() {
		if open == '{' {
			t, err := d.Token()
			name, ok := t.(string)
			if err != nil || !ok {
				return errNoObject
			}
			if names[name] {
				return errTwice
			}
			names[name] = true
		}
		if err := unambiguous(d, depth+1); err != nil {
			return err
		}
	}
	_, err = d.Token()
	return err
}

// Find returns the value of the member called name, and whether there is one.
func (o Object) Find(name string) (json.RawMessage, bool) {
	for _, m := range o {
		if m.Name == name {
			return m.Value, true
		}
	}
	return nil, false
}

// isWhole reports whether a member is there and a whole number.
func (o Object) isWhole(name string) bool {
	value, _ := o.Find(name)
	return len(value) > 0 && strings.Trim(strings.TrimPrefix(string(value), "-"), "0123456789") == ""
}

// Text returns a member that is text, and "" for any other.
func (o Object) Text(name string) string {
	value, _ := o.Find(name)
	var s string
	if json.Unmarshal(value, &s) != nil {
		return ""
	}
	return s
}

// isText reports whether a member is there and text.
func (o Object) isText(name string) bool {
	value, there := o.Find(name)
	return there && value[0] == '"'
}

// Texts returns a member that is text or a list of it, as "aud" is (RFC 7519
// section 4.1.3).
func (o Object) Texts(name string) []string {
	value, _ := o.Find(name)
	var list []string
	if json.Unmarshal(value, &list) == nil {
		return list
	}
	if s := o.Text(name); s != "" {
		return []string{s}
	}
	return nil
}

// Time returns a member that is a NumericDate (RFC 7519 section 2), and whether
// it is one.
func (o Object) Time(name string) (time.Time, bool) {
	const latest = 253402300799 // the last second that RFC 3339 can say
	value, there := o.Find(name)
	var f *float64
	if !there || json.Unmarshal(value, &f) != nil || f == nil || *f < 0 || *f > latest {
		return time.Time{}, false
	}
	whole := int64(*f)
	return time.Unix(whole, int64((*f-float64(whole))*1e9)).UTC(), true
}

// MarshalJSON writes the object as it was read.
func (o Object) MarshalJSON() ([]byte, error) {
	var b bytes.Buffer
	b.WriteByte('{')
	for i, m := range o {
		if i > 0 {
			b.WriteByte(',')
		}
		name, err := json.Marshal(m.Name)
		if err != nil {
			return nil, err
		}
		b.Write(name)
		b.WriteByte(':')
		b.Write(m.Value)
	}
	b.WriteByte('}')
	return b.Bytes(), nil
}

// compact returns a value in one line, escaped.
func compact(value json.RawMessage) string {
	var b bytes.Buffer
	if err := json.Compact(&b, value); err != nil {
		return "?"
	}
	return termsafe.Text(strings.TrimSpace(b.String()))
}
