package verify

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
)

// Static returns a Verifier that accepts exactly the given tokens, all of them
// current and for as long as it lives. It is meant for tests and for small
// programs that read a token once; use package agent for tokens that rotate.
//
// The Principal of an accepted token has the subject and source "static". Static
// panics if there is no token, or if one is empty: an empty set of tokens must
// never be taken for an open door. It does not check the form of the tokens. The
// Verifier is safe for concurrent use, and a check takes the same time for each
// token of a length, whichever of them matches.
func Static(tokens ...string) Verifier {
	if len(tokens) == 0 {
		panic("verify: Static needs a token")
	}
	s := make(static, len(tokens))
	for i, token := range tokens {
		if token == "" {
			panic("verify: a token of Static is empty")
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

// Verify compares SHA-256 digests, so that its time tells nothing about the tokens.
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

// String returns a text that holds no token.
func (s static) String() string { return "verify.Static" }
