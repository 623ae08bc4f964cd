package agent

import (
	"context"
	"iter"
	"maps"
	"slices"
	"time"

	"github.com/tokenagent/tokenagent/pkg/rotation"
	"github.com/tokenagent/tokenagent/pkg/verify"
)

// resolve returns s with those of ids that it knows by name under their own
// IDs. Tokens that were written down are met again when the source declares or
// revokes them.
func (s *state) resolve(m *verify.Memory, ids iter.Seq[rotation.ID]) *state {
	if len(s.names) == 0 {
		return s
	}
	met := make(map[rotation.ID]rotation.ID)
	for id := range ids {
		if name := m.Name(id); name != id {
			if _, ok := s.names[name]; ok {
				met[name] = id
			}
		}
	}
	if len(met) == 0 {
		return s
	}
	next := *s
	next.ledger = s.ledger.Rename(met)
	next.names = maps.Clone(s.names)
	next.manual = slices.Clone(s.manual)
	for i, id := range next.manual {
		if own, ok := met[id]; ok {
			next.manual[i] = own
		}
	}
	if own, ok := met[s.current]; ok {
		next.current = own
	}
	maps.DeleteFunc(next.names, func(name rotation.ID, _ struct{}) bool { _, ok := met[name]; return ok })
	return &next
}

// remember writes down every change, and at every poll the uses since, until ctx
// ends.
func (a *Agent) remember(ctx context.Context) {
	every := a.cfg.Poll
	if every <= 0 {
		every = defaultFlush
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		changed := a.value.Updated()
		_ = a.save() // is in the log and the status
		select {
		case <-ctx.Done():
			return
		case <-changed:
		case <-tick.C:
		}
	}
}

// defaultFlush is how often uses are written down where nothing is polled.
const defaultFlush = 10 * time.Second

// save writes down what there is now. It does nothing without a state file.
func (a *Agent) save() error {
	if a.keeper == nil {
		return nil
	}
	return a.keeper.save(func() *state {
		s := a.base(a.value.Load())
		if a.closed.Load() { // then s may be empty; Close saves what there was
			return nil
		}
		return s
	})
}
