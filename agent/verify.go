package agent

import (
	"context"
	"strings"

	"github.com/tokenagent/tokenagent/pkg/verify"
)

// Verify accepts token if a source declares it, or if it was superseded and its
// deadline has not come; and a signed token if an accepted key signed it and it
// claims what is asked for. It waits for nothing and ignores ctx; for a shared
// token, and for a signed one that it has verified before, it allocates nothing.
// What is revoked as a shared token, or was one and has come to its end, is refused
// even if it is signed as well: no other way lets in what one has shut out.
// Before the first good content and after Close it answers
// [verify.ErrUnavailable]. Each call is counted once in
// tokenagent_verifications_total.
func (a *Agent) Verify(ctx context.Context, token string) (*verify.Principal, error) {
	if a.tokens == nil {
		p, err := a.jwt.Verify(ctx, token)
		if err != nil {
			a.keys.counts.refused(err)
			return nil, err
		}
		a.keys.counts.accepted(p)
		return p, nil
	}
	p, err := a.tokens.set().Verify(ctx, token)
	switch {
	case err == nil:
		a.tokens.counts.accepted(p)
		return p, nil
	case a.keys == nil, verify.Class(err) >= verify.Expired:
		a.tokens.counts.refused(err)
		return nil, err
	}
	if verify.Class(err) == verify.Unavailable && a.tokens.revoked(verify.Digest(token)) {
		a.tokens.counts.refused(verify.ErrRevokedToken) // by hand, before the source was loaded
		return nil, verify.ErrRevokedToken
	}
	return a.verifySigned(ctx, token, err)
}

// verifySigned asks the keys about what is not known as a shared token, for which
// err is the refusal. Of two refusals that counts which says more.
func (a *Agent) verifySigned(ctx context.Context, token string, err error) (*verify.Principal, error) {
	p, other := a.jwt.Verify(ctx, token)
	if other == nil {
		a.keys.counts.accepted(p)
		return p, nil
	}
	if verify.Class(other) > verify.Class(err) {
		err = other
	}
	if looksSigned(token) {
		a.keys.counts.refused(err)
	} else {
		a.tokens.counts.refused(err)
	}
	return nil, err
}

// looksSigned reports whether token has the form of a signed one.
func looksSigned(token string) bool { return strings.Count(token, ".") == 2 }
