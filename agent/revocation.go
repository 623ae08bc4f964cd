package agent

import (
	"context"

	"github.com/tokenagent/tokenagent/internal/rotation"
	"github.com/tokenagent/tokenagent/pkg/verify"
)

// AwaitRevocation waits until the credential of p is revoked and returns true. It
// returns false if ctx ends or the Agent is closed, and at once if p does not come from
// a source of this Agent. The end of an overlap is not a revocation. An Agent that
// started from a Snapshot also knows the Principals of the earlier Agents, even if
// their source had another name. AwaitRevocation implements [verify.RevocationWaiter].
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

// RecordPreviousUse records that the host of the address remote used the superseded
// credential of p. The Agent logs each credential and host once and lists at most 100
// in Status. Principals in other slots or from other sources are ignored. Packages
// httpauth and grpcauth call RecordPreviousUse, which implements
// [verify.PreviousUseRecorder].
func (a *Agent) RecordPreviousUse(p *verify.Principal, remote string) {
	switch {
	case p.Slot() != rotation.Previous:
	case a.fromToken(p):
		a.tokens.recordPreviousUse(p, remote)
	case a.fromKey(p):
		a.keys.recordPreviousUse(p, remote)
	}
}

// fromToken reports whether p was verified by a token of a's token source.
func (a *Agent) fromToken(p *verify.Principal) bool {
	return a.tokens != nil && p.Method() == verify.MethodToken && a.tokens.hasName(p.Source())
}

// fromKey reports whether p was verified by a key of a's key source.
func (a *Agent) fromKey(p *verify.Principal) bool {
	return a.keys != nil && p.Method() == verify.MethodJWT && a.keys.hasName(p.Source())
}
