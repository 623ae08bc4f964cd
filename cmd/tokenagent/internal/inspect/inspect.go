// Package inspect explains a signed token to people: its header, its claims, and what is
// unusual about them. It does not verify the token, and shows neither the token nor its
// signature.
package inspect

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	golangjwt "github.com/golang-jwt/jwt/v5"

	"github.com/tokenagent/tokenagent/internal/jwt"
	"github.com/tokenagent/tokenagent/internal/strictjson"
	"github.com/tokenagent/tokenagent/pkg/verify"
)

// A Token holds the content of a token, which has not been verified. If the token is not a
// JSON Web Token (RFC 7519), only Error, Fingerprint and Bytes are set.
type Token struct {
	JWT         bool                 `json:"jwt"`
	Error       string               `json:"fault,omitempty"` // why it is no JWT, or a malformed one; quotes nothing
	Fingerprint string               `json:"fingerprint"`     // the first 8 hex digits of its SHA-256
	Bytes       int                  `json:"bytes"`
	Digest      string               `json:"digest,omitempty"` // the digest that revokes it, in hex; see verify.SigningInputDigest
	Header      Object               `json:"header,omitempty"` // nil if it cannot be decoded
	Claims      Object               `json:"claims,omitempty"` // nil if they cannot be decoded
	Times       map[string]time.Time `json:"times,omitempty"`  // the claims that are times
	Warnings    []string             `json:"warnings,omitempty"`
}

// Decode decodes a token and explains it as of now.
func Decode(token string, now time.Time) *Token {
	t := &Token{Bytes: len(token), Fingerprint: verify.Fingerprint(verify.Digest(token))}
	if err := t.decode(token); err != nil {
		t.Error = err.Error()
	}
	if t.JWT {
		digest := verify.SigningInputDigest(token)
		t.Digest = hex.EncodeToString(digest[:])
	}
	if t.Claims != nil {
		t.Times = make(map[string]time.Time)
		for _, name := range []string{"exp", "nbf", "iat", "auth_time"} { // RFC 7519 section 4.1, OpenID Connect Core section 2
			if at, ok := numericDate(t.Claims[name]); ok {
				t.Times[name] = at
			}
		}
		t.Warnings = t.warnings(now)
	}
	return t
}

// decode returns an error if the token is no JWT, or a malformed one. The error quotes
// nothing.
func (t *Token) decode(token string) error {
	if strings.ContainsAny(token, " \t\r\n\v\f") { // encoding/base64 skips line breaks
		return errors.New("it has white space in it; give the token alone, without the word Bearer, and on one line")
	}
	parts := strings.Split(token, ".")
	text, decodeErr := strictBase64.DecodeString(parts[0])
	header, err := parseObject(text)
	switch {
	case decodeErr != nil || header == nil || len(parts) != 3 && len(parts) != 5: // any text with dots
		return errors.New("not a JSON Web Token, which is three parts of base64url between dots")
	case len(parts) == 5:
		return errors.New("an encrypted token (JWE, RFC 7516), which cannot be read here; signed ones have three parts")
	}
	t.JWT, t.Header = true, header
	if err != nil {
		return fmt.Errorf("in its header %w", err)
	}
	if text, err = strictBase64.DecodeString(parts[1]); err != nil {
		return errors.New("its claims are not base64url without padding")
	}
	if t.Claims, err = parseObject(text); err != nil {
		return fmt.Errorf("in its claims %w", err)
	}
	signature, err := strictBase64.DecodeString(parts[2])
	switch {
	case err != nil:
		return errors.New("its signature is not base64url without padding")
	case len(signature) == 0 && t.Header.text("alg") != "none": // RFC 7519 section 6
		return errors.New("it has no signature")
	}
	return nil
}

var strictBase64 = base64.RawURLEncoding.Strict() //nolint:gochecknoglobals // a constant

// An Object is a JSON object. Its numbers are of type json.Number.
type Object map[string]any

// parseObject parses text. It returns nil if text is not a JSON object, and the object
// with any other error.
func parseObject(text []byte) (o Object, err error) {
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	if !json.Valid(text) || d.Decode(&o) != nil || o == nil {
		return nil, errors.New("there is no JSON object")
	}
	_, err = strictjson.Check(text)
	switch {
	case !utf8.Valid(text):
		return o, errors.New("there are bytes that are not UTF-8, which parsers read differently; such tokens are refused")
	case errors.Is(err, strictjson.ErrRepeated):
		return o, errors.New("a member occurs twice, and parsers disagree about which value counts; such tokens are refused")
	case err != nil:
		return o, fmt.Errorf("objects or arrays are nested more than %d deep; such tokens are refused", strictjson.MaxDepth)
	case json.Unmarshal(text, new(any)) != nil:
		return o, errors.New("a number is too large to be read; such tokens are refused")
	default:
		return o, nil
	}
}

// text returns the member name, or "" if it is not a string.
func (o Object) text(name string) string {
	text, _ := o[name].(string)
	return text
}

// audiences returns the claim aud, which is text or a list of texts (RFC 7519 section
// 4.1.3), or nil if it is anything else.
func (o Object) audiences() []string {
	aud, _ := golangjwt.MapClaims(o).GetAudience()
	return aud
}

// numericDate returns the time of a NumericDate (RFC 7519 section 2), and whether value is
// one.
func numericDate(value any) (time.Time, bool) {
	number, ok := value.(json.Number)
	seconds, err := number.Float64()
	if !ok || err != nil {
		return time.Time{}, false
	}
	at, ok := jwt.NumericDate(seconds)
	return at.UTC(), ok
}
