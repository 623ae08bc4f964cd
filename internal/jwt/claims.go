package jwt

import (
	"encoding/json"
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tokenagent/tokenagent/internal/strictjson"
)

// Claims are the claims of one token (RFC 7519 section 4). They are not safe for
// concurrent use.
type Claims struct {
	text    string
	members map[string]any // as encoding/json decodes them: a number is a float64; nil until needed
	exact   map[string]any // members with each number as a json.Number; nil until needed

	// The JSON texts of the values of registered claims; "" for one that is missing.
	iss, sub, aud, exp, nbf, iat, jti string
}

// parseClaims returns the claims in text. It decodes none of them.
func parseClaims(text string) (*Claims, error) {
	c := &Claims{text: text}
	err := strictjson.Object(text, func(name, value string) {
		switch name {
		case "iss":
			c.iss = value
		case "sub":
			c.sub = value
		case "aud":
			c.aud = value
		case "exp":
			c.exp = value
		case "nbf":
			c.nbf = value
		case "iat":
			c.iat = value
		case "jti":
			c.jti = value
		}
	})
	if err != nil {
		return nil, formError(err)
	}
	return c, nil
}

// NewClaims returns the claims members for a [Requirement]. Their numbers have the type
// json.Number.
func NewClaims(members map[string]any) *Claims { return &Claims{members: members, exact: members} }

// subject returns the claim "sub". A whole number is returned with the digits of the
// token, because a float64 would round a long one. The subject is "" if there is no sub,
// and ok is false if sub is neither a string nor a whole number.
func (c *Claims) subject() (subject string, ok bool) {
	if subject, ok = strictjson.String(c.sub); ok || c.sub == "" {
		return subject, true
	}
	_, isNumber := strictjson.Number(c.sub)
	return c.sub, isNumber && !strings.ContainsAny(c.sub, ".eE")
}

// isFor reports whether the claim "aud", which is a string or a list of strings (RFC 7519
// section 4.1.3), has one of audiences.
func (c *Claims) isFor(audiences []string) bool {
	if one, isText := strictjson.String(c.aud); isText {
		return slices.Contains(audiences, one)
	}
	found, allText := false, true
	strictjson.Array(c.aud, func(value string) {
		one, isText := strictjson.String(value)
		found = found || isText && slices.Contains(audiences, one)
		allText = allText && isText
	})
	return found && allText
}

// timeOf returns the time of the claim whose value has the JSON text. It returns the zero
// Time if text is "", and false if text is not a valid time.
func timeOf(text string) (time.Time, bool) {
	if text == "" {
		return time.Time{}, true
	}
	seconds, ok := strictjson.Number(text)
	if !ok {
		return time.Time{}, false
	}
	return NumericDate(seconds)
}

// all returns the claims as encoding/json decodes them.
func (c *Claims) all() map[string]any {
	if c.members == nil {
		_ = json.Unmarshal([]byte(c.text), &c.members) // valid, because it was scanned
	}
	return c.members
}

// unrounded returns the claims with each number as a json.Number.
func (c *Claims) unrounded() map[string]any {
	if c.exact == nil {
		d := json.NewDecoder(strings.NewReader(c.text))
		d.UseNumber()
		_ = d.Decode(&c.exact) // valid, because it was scanned
	}
	return c.exact
}

// latest is the last second that RFC 3339 can represent, in Unix time. A later time is an
// error of the issuer and would overflow elsewhere.
const latest = 253402300799

// NumericDate returns the time of a NumericDate (RFC 7519 section 2). It returns false if
// seconds is not a valid time.
func NumericDate(seconds float64) (time.Time, bool) {
	if seconds < 0 || seconds > latest {
		return time.Time{}, false
	}
	whole := int64(seconds)
	return time.Unix(whole, int64((seconds-float64(whole))*1e9)), true
}

// A Requirement is a claim that tokens must have. The zero Requirement is not usable.
type Requirement struct {
	path   []string
	values []string
}

// Require returns the requirement that a token has the claim name. If there are values,
// the claim must equal one of them or be a list that contains one. A name that begins
// with "/" is a JSON Pointer (RFC 6901) into the claims. The strings "scope" (RFC 8693
// section 4.2) and "scp" are lists of words.
func Require(name string, values []string) (Requirement, error) {
	r := Requirement{path: []string{name}, values: values}
	pointer, isPointer := strings.CutPrefix(name, "/")
	switch {
	case name == "":
		return r, errors.New("it has no name")
	case !isPointer:
		return r, nil
	case strings.Contains(strings.NewReplacer("~0", "", "~1", "").Replace(pointer), "~"):
		return r, errors.New("a JSON Pointer in which ~ is not followed by 0 or 1; write ~0 for ~ and ~1 for / (RFC 6901)")
	}
	r.path = strings.Split(pointer, "/")
	for i, token := range r.path {
		r.path[i] = strings.NewReplacer("~0", "~", "~1", "/").Replace(token)
	}
	return r, nil
}

// Met reports whether c meets the requirement.
func (r Requirement) Met(c *Claims) bool {
	value, has := r.Find(c.all())
	if !has || len(r.values) == 0 {
		return has
	}
	if hasNumber(value) {
		value, _ = r.Find(c.unrounded())
	}
	list, isList := value.([]any)
	text, isText := value.(string)
	last := r.path[len(r.path)-1]
	switch {
	case isList:
		return slices.ContainsFunc(list, r.equals)
	case isText && (last == "scope" || last == "scp"):
		// Only U+0020 separates words (RFC 6749 section 3.3).
		return slices.ContainsFunc(strings.Split(text, " "), func(word string) bool { return word != "" && r.equals(word) })
	default:
		return r.equals(value)
	}
}

// Find returns the claim that the requirement is about, and whether there is one.
func (r Requirement) Find(claims map[string]any) (value any, has bool) {
	value = claims
	for _, token := range r.path {
		switch v := value.(type) {
		case map[string]any:
			if value, has = v[token]; !has {
				return nil, false
			}
		case []any:
			// The digits of an index have no leading zero (RFC 6901 section 4).
			i, err := strconv.Atoi(token)
			if err != nil || strconv.Itoa(i) != token || i < 0 || i >= len(v) {
				return nil, false
			}
			value = v[i]
		default:
			return nil, false
		}
	}
	return value, true
}

// hasNumber reports whether value is a number or a list that contains one.
func hasNumber(value any) bool {
	list, isList := value.([]any)
	_, isNumber := value.(float64)
	return isNumber || isList && slices.ContainsFunc(list, hasNumber)
}

// equals reports whether value is one of the required values. 12, 12.0 and 1.2e1 are
// equal, unless a float64 would round the number.
func (r Requirement) equals(value any) bool {
	switch v := value.(type) {
	case string:
		return slices.Contains(r.values, v)
	case bool:
		return slices.Contains(r.values, strconv.FormatBool(v))
	case json.Number:
		const exactly = 1 << 53 // a float64 holds whole numbers below this without rounding
		f, err := v.Float64()
		return slices.Contains(r.values, v.String()) ||
			err == nil && -exactly < f && f < exactly && slices.Contains(r.values, strconv.FormatFloat(f, 'f', -1, 64))
	default:
		return false
	}
}
