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

// A Token is a secret that does not reveal itself: fmt, encoding/json and log/slog print
// its fingerprint for every verb. A Token is immutable and safe for concurrent use. The
// zero Token is empty.
type Token struct {
	// fmt prints unexported fields without calling their methods. If a verb does not fit,
	// fmt follows a pointer to a struct, but never a pointer to a pointer.
	s **secret
}

type secret struct {
	text    string
	id      rotation.ID
	expires time.Time
}

// New returns the Token with the bytes text. If text has the form of a JSON Web Token,
// New reads its "exp" claim (RFC 7519 section 4.1.4) without verifying the signature.
func New(text string) Token {
	s := &secret{text: text, id: verify.Digest(text), expires: jwtExpiry(text)}
	return Token{&s}
}

// Remembered returns a token whose bytes are unknown: the state of an earlier process holds
// only its SHA-256. Its Reveal returns "". The bool is always true.
func Remembered(e rotation.SnapshotEntry) (Token, bool) {
	s := &secret{id: e.ID}
	return Token{&s}, true
}

// content returns the zero secret for the zero Token.
func (t Token) content() secret {
	if t.s == nil {
		return secret{}
	}
	return **t.s
}

// Reveal returns the bytes of the token. Use it only to send or compare the token. Reveal
// returns "" for a [Remembered] token and for the zero Token.
func (t Token) Reveal() string {
	return t.content().text
}

// Fingerprint returns the first 8 hex digits of the token's SHA-256. It returns "" for
// the zero Token.
func (t Token) Fingerprint() string {
	if t.s == nil {
		return ""
	}
	return verify.Fingerprint((*t.s).id)
}

// Label returns Fingerprint, which a Principal reports as its KeyID.
func (t Token) Label() string { return t.Fingerprint() }

// ID returns the SHA-256 of the token. It returns the zero ID for the zero Token.
func (t Token) ID() rotation.ID {
	return t.content().id
}

// Expires returns the "exp" claim if the token is a JSON Web Token, and the zero Time
// otherwise. The signature of the token has not been verified. The claim does not decide
// whether a shared token is accepted; its slot does.
func (t Token) Expires() time.Time {
	return t.content().expires
}

// String returns the fingerprint in the form token(FINGERPRINT).
func (t Token) String() string {
	return "token(" + t.Fingerprint() + ")"
}

// Format writes String for every verb and flag.
func (t Token) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, t.String()) }

// MarshalText returns String. The error is always nil.
func (t Token) MarshalText() ([]byte, error) { return []byte(t.String()), nil }

// LogValue returns String.
func (t Token) LogValue() slog.Value { return slog.StringValue(t.String()) }

// maxJWT is the length in bytes up to which New looks for an expiry.
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
	return rotation.ClampTime(c.Expires.Time)
}
