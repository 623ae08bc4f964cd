// Package inspect explains a signed token to people: what its header and claims say, and
// what is unusual about them. It verifies nothing, and shows neither the token nor its
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

	"github.com/tokenagent/tokenagent/internal/jwt"
	"github.com/tokenagent/tokenagent/internal/strictjson"
	"github.com/tokenagent/tokenagent/pkg/verify"
)

// A Token says what a token contains. Nothing in it has been verified. If the token is not
// a JSON Web Token (RFC 7519), only Error, Fingerprint and Bytes are set.
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

// The errors of a token. The texts are constants.
var (
	errOpaque    = errors.New("not a JSON Web Token, which is three parts of base64url between dots")
	errSpace     = errors.New("it has white space in it; give the token alone, without the word Bearer, and on one line")
	errEncrypted = errors.New("an encrypted token (JWE, RFC 7516), which cannot be read here; signed ones have three parts")
	errClaims    = errors.New("its claims are not base64url without padding")
	errSignature = errors.New("its signature is not base64url without padding")
	errUnsigned  = errors.New("it has no signature")
	errNoObject  = errors.New("there is no JSON object")
	errTwice     = errors.New("a member occurs twice, and parsers disagree about which value counts; such tokens are refused")
	errNumber    = errors.New("a number is too large to be read; such tokens are refused")
	errUTF8      = errors.New("there are bytes that are not UTF-8, which parsers read differently; such tokens are refused")
	errDeep      = fmt.Errorf("objects or arrays are nested more than %d deep; such tokens are refused", strictjson.MaxDepth)
)

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
			if at, ok := t.Claims.time(name); ok {
				t.Times[name] = at
			}
		}
		t.Warnings = t.warnings(now)
	}
	return t
}

func (t *Token) decode(token string) error {
	if strings.ContainsAny(token, " \t\r\n\v\f") { // encoding/base64 skips line breaks
		return errSpace
	}
	parts := strings.Split(token, ".")
	text, err := strictBase64.DecodeString(parts[0])
	if err != nil || len(parts) != 3 && len(parts) != 5 {
		return errOpaque
	}
	header, err := parseObject(text)
	switch {
	case header == nil:
		return errOpaque // any text with dots
	case len(parts) == 5:
		return errEncrypted
	}
	t.JWT, t.Header = true, header
	if err != nil {
		return fmt.Errorf("in its header %w", err)
	}
	if text, err = strictBase64.DecodeString(parts[1]); err != nil {
		return errClaims
	}
	if t.Claims, err = parseObject(text); err != nil {
		return fmt.Errorf("in its claims %w", err)
	}
	signature, err := strictBase64.DecodeString(parts[2])
	switch {
	case err != nil:
		return errSignature
	case len(signature) == 0 && t.Header.text("alg") != "none": // RFC 7519 section 6
		return errUnsigned
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
		return nil, errNoObject
	}
	_, err = strictjson.Check(text)
	switch {
	case !utf8.Valid(text):
		return o, errUTF8
	case errors.Is(err, strictjson.ErrRepeated):
		return o, errTwice
	case err != nil:
		return o, errDeep
	case json.Unmarshal(text, new(any)) != nil:
		return o, errNumber
	default:
		return o, nil
	}
}

// text returns the member name, or "" if it is not a string.
func (o Object) text(name string) string {
	text, _ := o[name].(string)
	return text
}

// Texts returns the member name, which is a string or a list of strings, as "aud" is
// (RFC 7519 section 4.1.3). It returns nil if the member is anything else or empty.
func (o Object) Texts(name string) (texts []string) {
	list, ok := o[name].([]any)
	if !ok {
		list = []any{o[name]}
	}
	for _, one := range list {
		text, ok := one.(string)
		if !ok {
			return nil
		}
		texts = append(texts, text)
	}
	if len(texts) == 1 && texts[0] == "" {
		return nil
	}
	return texts
}

// time returns the member name, which is a NumericDate (RFC 7519 section 2), and whether
// it is one.
func (o Object) time(name string) (time.Time, bool) {
	number, ok := o[name].(json.Number)
	seconds, err := number.Float64()
	if !ok || err != nil {
		return time.Time{}, false
	}
	at, ok := jwt.NumericDate(seconds)
	return at.UTC(), ok
}
