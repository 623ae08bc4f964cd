package token

import (
	"fmt"
	"io"
	"log/slog"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/tokenagent/tokenagent/internal/rotation"
	"github.com/tokenagent/tokenagent/pkg/verify"
)

// A Token is a secret that does not show itself: fmt, encoding/json and
// log/slog render its fingerprint, whatever the verb. The zero Token is empty.
type Token struct {
	// fmt prints unexported fields without asking their methods. It follows a
	// pointer to a struct when the verb does not fit, but never one to a
	// pointer.
	s **secret
}

type secret struct {
	text    string
	id      rotation.ID
	expires time.Time
}

// New returns the Token whose bytes are text. If it has the form of a JSON
// Web Token, its "exp" claim (RFC 7519 section 4.1.4) is read, unverified.
func New(text string) Token {
	s := &secret{text: text, id: verify.Digest(text), expires: jwtExpiry(text)}
	return Token{&s}
}

// Remembered returns the token with the SHA-256 id, of which nothing else is
// known: a process wrote that down before it was restarted. Reveal returns "".
func Remembered(id rotation.ID) Token {
	s := &secret{id: id}
	return Token{&s}
}

// Reveal returns the token's bytes, for the one who sends them. They are "" for
// a [Remembered].
func (t Token) Reveal() string {
	if t.s == nil {
		return ""
	}
	return (*t.s).text
}

// Fingerprint returns the first 8 hex digits of the token's SHA-256, and "" for
// the zero Token.
func (t Token) Fingerprint() string {
	if t.s == nil {
		return ""
	}
	return verify.Fingerprint((*t.s).id)
}

// Label returns Fingerprint: what a Principal says of the token that vouches for
// it.
func (t Token) Label() string { return t.Fingerprint() }

// ID returns the token's SHA-256.
func (t Token) ID() rotation.ID {
	if t.s == nil {
		return rotation.ID{}
	}
	return (*t.s).id
}

// Expires returns the "exp" of a token that is a JSON Web Token, and the zero
// Time for any other. Nobody has checked the token's signature; an opaque
// token is accepted by its slot and not by its exp.
func (t Token) Expires() time.Time {
	if t.s == nil {
		return time.Time{}
	}
	return (*t.s).expires
}

// String returns the token's fingerprint.
func (t Token) String() string {
	if t.s == nil {
		return "token()"
	}
	return "token(" + t.Fingerprint() + ")"
}

// Format writes the fingerprint for every verb and flag.
func (t Token) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, t.String()) }

// MarshalText returns the fingerprint.
func (t Token) MarshalText() ([]byte, error) { return []byte(t.String()), nil }

// LogValue returns the fingerprint.
func (t Token) LogValue() slog.Value { return slog.StringValue(t.String()) }

// maxJWT bounds what is parsed as a JSON Web Token only to read its expiry.
const maxJWT = 64 << 10

func jwtExpiry(text string) time.Time {
	if len(text) > maxJWT || strings.Count(text, ".") != 2 {
		return time.Time{}
	}
	var c struct {
		Expires *jwt.NumericDate `json:"exp"`
		jwt.RegisteredClaims
	}
	if _, _, err := jwt.NewParser().ParseUnverified(text, &c); err != nil || c.Expires == nil {
		return time.Time{}
	}
	return sane(c.Expires.Time)
}
