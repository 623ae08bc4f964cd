package agent

import (
	"slices"
	"sync"

	"github.com/tokenagent/tokenagent/internal/rotation"
)

// handRevocations are the IDs that Agent.Revoke revoked, in this Agent or in those that it
// continues. Each source has them in its ledger; the list is for sources that are added
// later. The zero value is empty.
type handRevocations struct {
	mu  sync.Mutex
	ids []rotation.ID
}

// add adds ids. The caller must hold mu.
func (h *handRevocations) add(ids ...rotation.ID) {
	for _, id := range ids {
		if !slices.Contains(h.ids, id) {
			h.ids = append(h.ids, id)
		}
	}
}

// takeByHand adds what an earlier Agent revoked by hand.
func (a *Agent) takeByHand(ids []rotation.ID) {
	a.byHand.mu.Lock()
	defer a.byHand.mu.Unlock()
	a.byHand.add(ids...)
}

// revokedByHand returns the IDs that Agent.Revoke revoked. It forgets those whose revocation
// every source has lifted since. A caller that also reads the ledgers reads them first: then
// the list has every ID that Revoke has put into one of them.
func (a *Agent) revokedByHand() []rotation.ID {
	a.byHand.mu.Lock()
	defer a.byHand.mu.Unlock()
	a.byHand.ids = slices.DeleteFunc(a.byHand.ids, func(id rotation.ID) bool {
		return !slices.ContainsFunc(a.sources, func(src credentialSource) bool { return src.hasRevocation(id) })
	})
	return slices.Clone(a.byHand.ids)
}

// hasRevocation reports whether the source refuses id itself as revoked.
func (src *source[V, S]) hasRevocation(id rotation.ID) bool {
	return src.value.Load().ledger.HasRevocation(id)
}
