package agent

import (
	"context"
	"strings"

	"github.com/tokenagent/tokenagent/pkg/verify"
)

// Verify accepts a shared token if the source declares it, or if it was superseded and
// its deadline has not passed. It accepts a signed token if an accepted key signed it
// and its claims satisfy Config.JWT. A token that the token source revoked, or that was
// superseded and has ended, is refused even if it is also a valid signed token.
//
// Verify reads memory only. For a shared token, and for a signed token in the cache, it
// allocates nothing. Each call adds one to tokenagent_verifications_total. An error
// wraps one of the errors of package verify; before the source is loaded and after
// Close, it wraps [verify.ErrUnavailable].
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

// verifySigned verifies token as a signed token, after the token source has refused it
// with err. If the keys refuse token too, verifySigned returns the refusal of the higher
// class.
func (a *Agent) verifySigned(ctx context.Context, token string, err error) (*verify.Principal, error) {
	p, jwtErr := a.jwt.Verify(ctx, token)
	if jwtErr == nil {
		a.keys.counts.accepted(p)
		return p, nil
	}
	if verify.Class(jwtErr) > verify.Class(err) {
		err = jwtErr
	}
	if looksSigned(token) {
		a.keys.counts.refused(err)
	} else {
		a.tokens.counts.refused(err)
	}
	return nil, err
}

// looksSigned reports whether token has the three parts of a JWS (RFC 7515 section 7.1).
func looksSigned(token string) bool { return strings.Count(token, ".") == 2 }
