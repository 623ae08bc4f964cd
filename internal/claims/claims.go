// Package claims reads the claims of a signed token (RFC 7519 section 4) for those
// who decide about it and for those who explain the decision, so that both agree.
// It verifies nothing.
package claims

import (
	"bytes"
	"encoding/json"
	"errors"
	"slices"
	"strconv"
	"strings"
)

// Claims are the claims of one token. They are not safe for concurrent use.
type Claims struct {
	// Members are the claims as encoding/json decodes them: a number is a float64.
	Members map[string]any
	text    []byte
	exact   map[string]any // the same with numbers as they were written; nil until needed
}

// New returns the claims members, which were decoded from the JSON object text.
func New(members map[string]any, text []byte) *Claims { return &Claims{Members: members, text: text} }

// Subject returns the claim "sub": its text, or the digits of a whole number as
// they were written, since a float64 would round a long one. It is "" where there
// is no such claim, and false where the claim is neither.
func (c *Claims) Subject() (string, bool) {
	switch sub := c.Members["sub"].(type) {
	case string:
		return sub, true
	case float64:
		n, _ := c.literal()["sub"].(json.Number)
		return n.String(), isWhole(n.String())
	default:
		_, there := c.Members["sub"]
		return "", !there
	}
}

// isWhole reports whether a JSON number has neither a fraction nor an exponent.
func isWhole(number string) bool { return number != "" && !strings.ContainsAny(number, ".eE") }

// literal returns the claims with numbers as they were written.
func (c *Claims) literal() map[string]any {
	if c.exact == nil {
		var exact map[string]any // not c.exact, which would take c to the heap
		d := json.NewDecoder(bytes.NewReader(c.text))
		d.UseNumber()
		if d.Decode(&exact) != nil || exact == nil {
			exact = make(map[string]any) // text is not that of the members
		}
		c.exact = exact
	}
	return c.exact
}

// A Requirement is a claim that tokens must have. The zero Requirement is not
// usable.
type Requirement struct {
	path   []string
	values []string
}

// Require returns the requirement that a token has the claim called name and, where
// there are values, that the claim is one of them or a list that holds one. A
// name that begins with "/" is a JSON Pointer (RFC 6901) into the claims. The words
// of text that is named "scope" (RFC 8693 section 4.2) or "scp" count as a list.
func Require(name string, values []string) (Requirement, error) {
	r := Requirement{path: []string{name}, values: values}
	if name == "" {
		return r, errors.New("it has no name")
	}
	if name[0] != '/' {
		return r, nil
	}
	r.path = strings.Split(name[1:], "/")
	for i, token := range r.path {
		for j := range len(token) {
			if token[j] == '~' && (j+1 == len(token) || token[j+1] != '0' && token[j+1] != '1') {
				return r, errors.New("a JSON Pointer in which ~ stands before something other than 0 or 1; write ~0 for ~ and ~1 for / (RFC 6901)")
			}
		}
		r.path[i] = strings.ReplaceAll(strings.ReplaceAll(token, "~1", "/"), "~0", "~")
	}
	return r, nil
}

// Met reports whether c meets the requirement.
func (r Requirement) Met(c *Claims) bool {
	value, there := r.Find(c.Members)
	if !there || len(r.values) == 0 {
		return there
	}
	if hasNumber(value) {
		value, _ = r.Find(c.literal())
	}
	text, isText := value.(string)
	if last := r.path[len(r.path)-1]; isText && (last == "scope" || last == "scp") {
		// Words are parted by U+0020 alone (RFC 6749 section 3.3).
		words := strings.FieldsFunc(text, func(c rune) bool { return c == ' ' })
		return slices.ContainsFunc(words, func(word string) bool { return slices.Contains(r.values, word) })
	}
	if list, ok := value.([]any); ok {
		return slices.ContainsFunc(list, r.equals)
	}
	return r.equals(value)
}

// Find returns the claim that the requirement is about, and whether there is one.
func (r Requirement) Find(claims map[string]any) (any, bool) {
	var value any = claims
	for _, token := range r.path {
		switch v := value.(type) {
		case map[string]any:
			member, there := v[token]
			if !there {
				return nil, false
			}
			value = member
		case []any:
			i, ok := index(token)
			if !ok || i >= len(v) {
				return nil, false
			}
			value = v[i]
		default:
			return nil, false
		}
	}
	return value, true
}

// index returns an array index of a JSON Pointer (RFC 6901 section 4): digits
// without a leading zero.
func index(token string) (int, bool) {
	if token == "" || token != "0" && token[0] == '0' {
		return 0, false
	}
	for i := range len(token) {
		if token[i] < '0' || token[i] > '9' {
			return 0, false
		}
	}
	n, err := strconv.Atoi(token)
	return n, err == nil
}

func hasNumber(value any) bool {
	if list, ok := value.([]any); ok {
		return slices.ContainsFunc(list, isNumber)
	}
	return isNumber(value)
}

func isNumber(value any) bool {
	_, ok := value.(float64)
	return ok
}

// exactly bounds the whole numbers that a float64 holds without rounding.
const exactly = 1 << 53

func (r Requirement) equals(value any) bool {
	switch v := value.(type) {
	case string:
		return slices.Contains(r.values, v)
	case bool:
		return slices.Contains(r.values, strconv.FormatBool(v))
	case json.Number:
		if slices.Contains(r.values, v.String()) {
			return true
		}
		// 12.0 and 1.2e1 are 12, too.
		f, err := v.Float64()
		return err == nil && f > -exactly && f < exactly && slices.Contains(r.values, strconv.FormatFloat(f, 'f', -1, 64))
	default:
		return false
	}
}
