package agent

import (
	"context"

	"github.com/tokenagent/tokenagent/pkg/rotation"
	"github.com/tokenagent/tokenagent/pkg/verify"
)

// AwaitRevocation returns true as soon as the token that p proved itself by is
// revoked, and false when ctx ends, or at once where p is not of this Agent's
// source. An overlap that ends, and Close, revoke nothing.
func (a *Agent) AwaitRevocation(ctx context.Context, p *verify.Principal) bool {
	if p.Source() != a.cfg.Name || p.Method() != verify.MethodToken {
		return false
	}
	for {
		changed := a.value.Updated()
		if a.revoked(p.Credential()) {
			return true
		}
		select {
		case <-ctx.Done():
			return false
		case <-changed:
		}
	}
}

// revoked reports whether the token id is. One that was accepted under the name
// that was written down may have been revoked under its own since.
func (a *Agent) revoked(id rotation.ID) (yes bool) {
	s := a.base(a.value.Load())
	if s.ledger.Revoked(id) {
		return true
	}
	if a.initial == nil {
		return false
	}
	if _, named := a.initial.names[id]; named {
		s.ledger.EachRefused(func(own rotation.ID, revoked bool) {
			yes = yes || revoked && a.memory.Name(own) == id
		})
	}
	return yes
}
