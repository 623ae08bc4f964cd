package content

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/tokenagent/tokenagent/internal/jwt"
	"github.com/tokenagent/tokenagent/internal/rotation"
	"github.com/tokenagent/tokenagent/internal/token"
	"github.com/tokenagent/tokenagent/pkg/verify"
)

// A Kind is what a source declares, as flags and reports call it: shared tokens, or keys
// that verify signed tokens.
type Kind string

// The kinds.
const (
	Tokens Kind = "tokens"
	Keys   Kind = "keys"
)

// Noun returns the word for one credential of the kind.
func (k Kind) Noun() string { return strings.TrimSuffix(string(k), "s") }

// A Credential is a token or a verification key. Every verb formats it as its fingerprint.
// The zero Credential is neither.
type Credential struct {
	text token.Token // the token, or the text of the key, which may be a secret
	key  jwt.Key     // the zero Key for a token
}

// Token returns the Credential that is the token text.
func Token(text string) Credential { return Credential{text: token.New(text)} }

// Key returns the Credential that is the key k with its text. For a key that a set has
// already, text does not matter.
func Key(k jwt.Key, text []byte) Credential {
	return Credential{text: token.New(string(text)), key: k}
}

func (c Credential) isKey() bool { return c.key != jwt.Key{} }

// ID returns what revokes the credential: the SHA-256 of a token, or the RFC 7638
// thumbprint of a key.
func (c Credential) ID() rotation.ID {
	if c.isKey() {
		return c.key.ID()
	}
	return c.text.ID()
}

// Fingerprint returns the first 8 hex digits of ID.
func (c Credential) Fingerprint() string { return verify.Fingerprint(c.ID()) }

// Key returns the key, and the zero Key for a token.
func (c Credential) Key() jwt.Key { return c.key }

// KeyIDs returns the kids of a key, each once.
func (c Credential) KeyIDs() (kids []string) {
	for _, k := range c.key.Names() {
		if kid := k.KeyID(); kid != "" && !slices.Contains(kids, kid) {
			kids = append(kids, kid)
		}
	}
	return kids
}

// Reveal returns the token, or the text of the key.
func (c Credential) Reveal() string { return c.text.Reveal() }

// String returns the fingerprint, and for a key also its algorithm.
func (c Credential) String() string {
	if c.isKey() {
		return c.key.String()
	}
	return c.text.String()
}

// Format writes String for every verb and flag.
func (c Credential) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, c.String()) }
