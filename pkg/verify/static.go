package verify

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"

	"github.com/tokenagent/tokenagent/internal/placeholder"
)

// Static returns a Verifier that accepts exactly the given tokens, in slot current and
// without a deadline. It is meant for tests and for small programs that read a token
// once. Use package agent for tokens that rotate.
//
// The Principal of an accepted token has the subject and source "static". The Verifier is
// safe for concurrent use. The duration of a check does not depend on which token matches.
//
// Static panics if tokens is empty, or contains an empty token or the placeholder of a
// templating tool, so that a missing token never admits everybody. It does not check the
// length or the bytes of the tokens.
func Static(tokens ...string) Verifier {
	if len(tokens) == 0 {
		panic("verify: Static needs a token")
	}
	s := make(static, len(tokens))
	for i, token := range tokens {
		if token == "" {
			panic("verify: a token of Static is empty")
		}
		if what := placeholder.Describe(token); what != "" {
			panic("verify: a token of Static looks like " + what)
		}
		id := Digest(token)
		s[i] = NewPrincipal(PrincipalConfig{
			Subject: "static", Method: MethodToken, Source: "static",
			KeyID: Fingerprint(id), Slot: SlotCurrent, Credential: id,
		})
	}
	return s
}

type static []*Principal

// Verify compares SHA-256 digests in constant time, so that its duration reveals nothing
// about the tokens.
func (s static) Verify(_ context.Context, token string) (*Principal, error) {
	if token == "" {
		return nil, ErrNoToken
	}
	presented := sha256.Sum256([]byte(token))
	var found *Principal
	for _, p := range s {
		id := p.Credential()
		if subtle.ConstantTimeCompare(id[:], presented[:]) == 1 {
			found = p
		}
	}
	if found == nil {
		return nil, ErrInvalidToken
	}
	return found, nil
}

// String returns a text that contains no token.
func (s static) String() string { return "verify.Static" }
