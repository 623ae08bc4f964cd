// Package inspect takes a signed token apart for people: what its header and
// claims say, and what is unusual about them. It verifies nothing, and shows
// neither the token nor its signature.
package inspect

import (
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	"github.com/tokenagent/tokenagent/pkg/verify"
)

// A Token is a JSON Web Token (RFC 7519) taken apart, of which nothing has been
// verified.
type Token struct {
	Bytes       int
	Fingerprint string // the first 8 hex digits of its SHA-256
	Digest      string // what to revoke it by, in hex; see verify.SigningInputDigest
	Header      Object
	Claims      Object
}

// ErrOpaque says that a token is no JSON Web Token. What it is instead nobody
// can tell, so nothing of it may be shown.
var ErrOpaque = errors.New("not a JSON Web Token, which is three parts of base64url between dots")

// What is wrong with what looks like a JSON Web Token. Texts are constants.
var (
	errSpace     = errors.New("it has white space in it; give the token alone, without the word Bearer, and on one line")
	errEncrypted = errors.New("an encrypted token (JWE, RFC 7516), of which nothing can be read here; signed ones have three parts")
	errClaims    = errors.New("its claims are not base64url without padding")
	errSignature = errors.New("its signature is not base64url without padding")
	errUnsigned  = errors.New("it has no signature")
)

// Decode takes a token apart. The error is ErrOpaque, or says what is wrong with
// a JSON Web Token; then what could be read of it is returned beside it. It
// quotes nothing.
func Decode(token string) (*Token, error) {
	digest := verify.SigningInputDigest(token)
	t := &Token{
		Bytes: len(token), Fingerprint: verify.Fingerprint(verify.Digest(token)), Digest: hex.EncodeToString(digest[:]),
	}
	if strings.ContainsAny(token, " \t\r\n\v\f") {
		return nil, errSpace
	}
	parts := strings.Split(token, ".")
	text, ok := decode(parts[0])
	if !ok || len(parts) != 3 && len(parts) != 5 {
		return nil, ErrOpaque
	}
	header, err := parseObject(text)
	switch {
	case errors.Is(err, errNoObject):
		return nil, ErrOpaque // text that happens to have dots
	case len(parts) == 5:
		return nil, errEncrypted
	}
	t.Header = header
	if err != nil {
		return t, fmt.Errorf("in its header %w", err)
	}
	if text, ok = decode(parts[1]); !ok {
		return t, errClaims
	}
	if t.Claims, err = parseObject(text); err != nil {
		return t, fmt.Errorf("in its claims %w", err)
	}
	signature, ok := decode(parts[2])
	switch {
	case !ok:
		return t, errSignature
	case len(signature) == 0 && t.Header.Text("alg") != "none": // RFC 7519 section 6
		return t, errUnsigned
	}
	return t, nil
}

// decode decodes one part in its one spelling.
func decode(part string) ([]byte, bool) {
	if strings.ContainsAny(part, "\r\n") { // which encoding/base64 skips
		return nil, false
	}
	text, err := base64.RawURLEncoding.Strict().DecodeString(part)
	return text, err == nil
}
