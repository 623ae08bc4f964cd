package secret

import (
	"bytes"
	"encoding/json"
	"errors"
	"unicode/utf8"
)

// An object is a JSON object whose members keep the text of their values. Member
// names match exactly, as at the API server; the structs of encoding/json ignore case.
type object = map[string]json.RawMessage

var (
	errNotJSON = errors.New("standard input is not one JSON document; pipe the answer of kubectl get secret NAME -o json")
	errTwice   = errors.New("a JSON object on standard input names a member twice, and programs differ in which one counts; remove one")
)

// check reports whether text is one JSON document in which no object names a
// member twice.
func check(text []byte) error {
	if !utf8.Valid(text) || !json.Valid(text) {
		return errNotJSON
	}
	type level struct {
		names map[string]bool // nil in a list
		value bool            // in an object: whether a value comes next
	}
	var open []level
	for d := json.NewDecoder(bytes.NewReader(text)); ; {
		token, err := d.Token()
		if err != nil {
			return nil //nolint:nilerr // the end, since the text is valid
		}
		top := len(open) - 1
		switch delim, _ := token.(json.Delim); {
		case delim == '}' || delim == ']':
			open = open[:top]
			continue
		case top >= 0 && open[top].names != nil && !open[top].value:
			name, _ := token.(string)
			if open[top].names[name] {
				return errTwice
			}
			open[top].names[name], open[top].value = true, true
			continue
		}
		if top >= 0 {
			open[top].value = false
		}
		switch token {
		case json.Delim('{'):
			open = append(open, level{names: map[string]bool{}})
		case json.Delim('['):
			open = append(open, level{})
		}
	}
}

// encode returns v as JSON in one line. Text within v stays as it is.
func encode(v any) (json.RawMessage, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	err := e.Encode(v)
	return bytes.TrimSpace(b.Bytes()), err
}
