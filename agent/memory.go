package agent

import (
	"iter"
	"maps"
	"slices"

	"github.com/tokenagent/tokenagent/pkg/rotation"
	"github.com/tokenagent/tokenagent/pkg/verify"
)

// ids returns those of all that is declared or revoked.
func (d *declaration[V]) ids() iter.Seq[rotation.ID] {
	return func(yield func(rotation.ID) bool) {
		for i := range d.decls {
			if !yield(d.decls[i].ID) {
				return
			}
		}
		for _, id := range d.revoked {
			if !yield(id) {
				return
			}
		}
	}
}

// resolve returns s with those of ids that it knows by name under their own
// IDs. Credentials that were written down are met again when the source declares
// or revokes them.
func (s *state[V, S]) resolve(m *verify.Memory, ids iter.Seq[rotation.ID]) *state[V, S] {
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
