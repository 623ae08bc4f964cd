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

	"github.com/tokenagent/tokenagent/internal/claims"
	"github.com/tokenagent/tokenagent/internal/strictjson"
	"github.com/tokenagent/tokenagent/pkg/verify"
)

// A Token is a decoded JSON Web Token (RFC 7519). Nothing in it has been verified.
type Token struct {
	Bytes       int
	Fingerprint string // the first 8 hex digits of its SHA-256
	Digest      string // the digest that revokes the token, in hex; see verify.SigningInputDigest
	Header      Object
	Claims      Object
}

// ErrOpaque means that a token is no JSON Web Token. Nobody can tell what it is instead,
// so nothing of it may be shown.
var ErrOpaque = errors.New("not a JSON Web Token, which is three parts of base64url between dots")

// Errors of Decode in what looks like a JSON Web Token. The texts are constants.
var (
	errSpace     = errors.New("it has white space in it; give the token alone, without the word Bearer, and on one line")
	errEncrypted = errors.New("an encrypted token (JWE, RFC 7516), of which nothing can be read here; signed ones have three parts")
	errClaims    = errors.New("its claims are not base64url without padding")
	errSignature = errors.New("its signature is not base64url without padding")
	errUnsigned  = errors.New("it has no signature")
	errNoObject  = errors.New("there is no JSON object")
	errTwice     = errors.New("a member stands twice, so that one reader takes the first and another the last; such tokens are refused")
	errNumber    = errors.New("a number is larger than any that is read; such tokens are refused")
	errUTF8      = errors.New("bytes that are not UTF-8, which readers take for different things; such tokens are refused")
	errDeep      = fmt.Errorf("objects or arrays stand more than %d deep in each other; such tokens are refused", strictjson.MaxDepth)
)

// Decode decodes a token. The error is ErrOpaque, or says what is wrong with a JSON Web
// Token; then Decode also returns the parts that it could decode. The error quotes
// nothing.
func Decode(token string) (*Token, error) {
	digest := verify.SigningInputDigest(token)
	t := &Token{
		Bytes: len(token), Fingerprint: verify.Fingerprint(verify.Digest(token)), Digest: hex.EncodeToString(digest[:]),
	}
	if strings.ContainsAny(token, " \t\r\n\v\f") { // encoding/base64 skips line breaks
		return nil, errSpace
	}
	parts := strings.Split(token, ".")
	text, err := strictBase64.DecodeString(parts[0])
	if err != nil || len(parts) != 3 && len(parts) != 5 {
		return nil, ErrOpaque
	}
	header, err := parseObject(text)
	switch {
	case errors.Is(err, errNoObject):
		return nil, ErrOpaque // any text with dots
	case len(parts) == 5:
		return nil, errEncrypted
	}
	t.Header = header
	if err != nil {
		return t, fmt.Errorf("in its header %w", err)
	}
	if text, err = strictBase64.DecodeString(parts[1]); err != nil {
		return t, errClaims
	}
	if t.Claims, err = parseObject(text); err != nil {
		return t, fmt.Errorf("in its claims %w", err)
	}
	signature, err := strictBase64.DecodeString(parts[2])
	switch {
	case err != nil:
		return t, errSignature
	case len(signature) == 0 && t.Header.Text("alg") != "none": // RFC 7519 section 6
		return t, errUnsigned
	}
	return t, nil
}

var strictBase64 = base64.RawURLEncoding.Strict() //nolint:gochecknoglobals // a constant

// An Object is a JSON object. Its numbers are of type json.Number.
type Object map[string]any

// parseObject parses text. It returns the object also with errTwice, errDeep, errNumber
// and errUTF8.
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

// Text returns the member name, or "" if it is not a string.
func (o Object) Text(name string) string {
	text, _ := o[name].(string)
	return text
}

// Texts returns the member name, which is a string or a list of strings, as "aud" is
// (RFC 7519 section 4.1.3).
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
	return texts
}

// Time returns the member name, which is a NumericDate (RFC 7519 section 2), and whether
// it is one.
func (o Object) Time(name string) (time.Time, bool) {
	number, ok := o[name].(json.Number)
	seconds, err := number.Float64()
	if !ok || err != nil {
		return time.Time{}, false
	}
	at, ok := claims.Time(seconds)
	return at.UTC(), ok
}
