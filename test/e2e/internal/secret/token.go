// Package secret makes tokens, publishes them as the kubelet does, and finds
// them where they must not be.
package secret

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"strings"
)

// canaryLength is how much of a token's beginning counts as a leak. Tokens are
// random, so 10 characters of one do not turn up by chance.
const canaryLength = 10

// A Token is a random shared token.
type Token string

// NewToken makes a token of more than 128 bits, with every byte in the range
// that both HTTP headers and gRPC metadata carry.
func NewToken() Token { return Token(rand.Text()) }

// Digest is the token's SHA-256 in hexadecimal, as `token-revoked` wants it.
func (t Token) Digest() string {
	sum := sha256.Sum256([]byte(t))
	return hex.EncodeToString(sum[:])
}

// Fingerprint is what metrics and status call the token.
func (t Token) Fingerprint() string { return t.Digest()[:8] }

// Leaked reports whether text holds the token or the beginning of it.
func (t Token) Leaked(text string) bool { return strings.Contains(text, string(t[:canaryLength])) }
