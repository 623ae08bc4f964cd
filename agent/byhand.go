package agent

import (
	"slices"
	"sync"

	"github.com/tokenagent/tokenagent/internal/rotation"
)

// handRevocations are the IDs that Agent.Revoke revoked, in this Agent or in those that it
// continues. Each source has them in its ledger; the list is for sources that are added
// later. The zero value is empty. All methods are safe for concurrent use.
type handRevocations struct {
	mu  sync.Mutex
	ids []rotation.ID
}

func (h *handRevocations) add(ids ...rotation.ID) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, id := range ids {
		if !slices.Contains(h.ids, id) {
			h.ids = append(h.ids, id)
		}
	}
}

func (h *handRevocations) remove(id rotation.ID) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.ids = slices.DeleteFunc(h.ids, func(known rotation.ID) bool { return known == id })
}

// revokedByHand returns the IDs that Agent.Revoke revoked, without those whose revocation
// every source has lifted since.
func (a *Agent) revokedByHand() []rotation.ID {
	a.byHand.mu.Lock()
	defer a.byHand.mu.Unlock()
	var ids []rotation.ID
	for _, id := range a.byHand.ids {
		if slices.ContainsFunc(a.sources, func(src credentialSource) bool { return src.hasRevocation(id) }) {
			ids = append(ids, id)
		}
	}
	return ids
}

// hasRevocation reports whether the source refuses id itself as revoked.
func (src *source[V, S]) hasRevocation(id rotation.ID) bool {
	return src.value.Load().ledger.HasRevocation(id)
}
