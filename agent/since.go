package agent

import (
	"time"

	"github.com/tokenagent/tokenagent/internal/rotation"
)

// A stay says since when a credential has been in its slot, as this process saw
// it.
type stay struct {
	slot  rotation.Slot
	since time.Time
}

// stays returns those of the credentials in l: as they were in before where the
// slot is the same, and from now for the others.
func stays[V any](before map[rotation.ID]stay, l *rotation.Ledger[V], now time.Time) map[rotation.ID]stay {
	if l == nil {
		return nil
	}
	after := make(map[rotation.ID]stay, len(l.Entries))
	for i := range l.Entries {
		e := &l.Entries[i]
		s, ok := before[e.ID]
		if !ok || s.slot != e.Slot {
			s = stay{e.Slot, now}
		}
		after[e.ID] = s
	}
	return after
}
