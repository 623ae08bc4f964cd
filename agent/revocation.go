package agent

import (
	"context"

	"github.com/tokenagent/tokenagent/internal/rotation"
	"github.com/tokenagent/tokenagent/pkg/verify"
)

// AwaitRevocation returns true as soon as what p proved itself by is revoked, and
// false when ctx ends or the Agent is closed; at once where p is not of one of its
// sources. An overlap that ends, and Close, revoke nothing. An Agent that was
// started from a Snapshot answers for the Principals of the Agent before it, too,
// whatever name their source had there.
func (a *Agent) AwaitRevocation(ctx context.Context, p *verify.Principal) bool {
	switch {
	case a.fromToken(p):
		return a.tokens.awaitRevocation(ctx, func() bool { return a.tokens.revoked(p.Credential()) })
	case a.fromKey(p):
		return a.keys.awaitRevocation(ctx, func() bool { return a.keys.set().Revoked(p) })
	default:
		return false
	}
}

// RecordPreviousUse notes from where a superseded token came: logged once per
// token and remote host, at most 100 of them, and listed in Status. httpauth
// and grpcauth call it.
func (a *Agent) RecordPreviousUse(p *verify.Principal, remote string) {
	switch {
	case p.Slot() != rotation.Previous:
	case a.fromToken(p):
		a.tokens.recordPreviousUse(p, remote)
	case a.fromKey(p):
		a.keys.recordPreviousUse(p, remote)
	}
}

func (a *Agent) fromToken(p *verify.Principal) bool {
	return a.tokens != nil && p.Method() == verify.MethodToken && a.tokens.hasName(p.Source())
}

func (a *Agent) fromKey(p *verify.Principal) bool {
	return a.keys != nil && p.Method() == verify.MethodJWT && a.keys.hasName(p.Source())
}
