package agent

import (
	"context"

	"github.com/tokenagent/tokenagent/pkg/rotation"
	"github.com/tokenagent/tokenagent/pkg/verify"
)

// AwaitRevocation returns true as soon as what p proved itself by is revoked, and
// false when ctx ends, or at once where p is not of one of this Agent's sources.
// An overlap that ends, and Close, revoke nothing; the Agent
// that has taken over from this one is asked from then on.
func (a *Agent) AwaitRevocation(ctx context.Context, p *verify.Principal) bool {
	for {
		var revoked bool
		switch {
		case a.vouched(p):
			revoked = a.tokens.await(ctx, a.gone, func() bool { return a.tokens.revoked(p.Credential()) })
		case a.signed(p):
			revoked = a.keys.await(ctx, a.gone, func() bool { return a.keys.set().Revoked(p) })
		}
		if next := a.to.Load(); !revoked && ctx.Err() == nil && a.gone() {
			a = next.a // it knows what is revoked from now on
			continue
		}
		return revoked
	}
}

// gone reports whether a is closed and another Agent has taken over.
func (a *Agent) gone() bool { return a.closed.Load() && a.to.Load() != nil }

// RecordPreviousUse notes from where a superseded token came: logged once per
// token and remote host, at most 100 of them, and listed in Status. httpauth
// and grpcauth call it.
func (a *Agent) RecordPreviousUse(p *verify.Principal, remote string) {
	switch {
	case p.Slot() != rotation.Previous:
	case a.vouched(p):
		a.tokens.recordPreviousUse(p, remote)
	case a.signed(p):
		a.keys.recordPreviousUse(p, remote)
	}
}

func (a *Agent) vouched(p *verify.Principal) bool {
	return a.tokens != nil && p.Method() == verify.MethodToken && p.Source() == a.tokens.src.name
}

func (a *Agent) signed(p *verify.Principal) bool {
	return a.keys != nil && p.Method() == verify.MethodJWT && p.Source() == a.keys.src.name
}
