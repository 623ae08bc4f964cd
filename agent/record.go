package agent

import (
	"encoding/hex"
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/tokenagent/tokenagent/pkg/rotation"
	"github.com/tokenagent/tokenagent/pkg/verify"
)

// A codec turns a credential into what may be written down of it, beside its name
// and fingerprint, and back.
type codec[V credential] struct {
	write func(v V, r *writtenRecord)
	// read returns false for a record of which nothing can be made. It makes a
	// credential that is known by name alone where the record says no more.
	read func(m *verify.Memory, name rotation.ID, r writtenRecord) (v V, id rotation.ID, ok bool)
}

// restore takes over what w says, by names that memory gave.
func (m *member[V, S]) restore(memory *verify.Memory, w writtenSource, now time.Time) error {
	good := true
	s := &state[V, S]{names: make(map[rotation.ID]struct{}), lastPrevious: w.LastUsed}
	name := func(text string) rotation.ID {
		id, ok := unhex(text)
		good = good && ok
		s.names[id] = struct{}{}
		return id
	}
	names := func(texts []string) (ids []rotation.ID) {
		for _, text := range texts {
			ids = append(ids, name(text))
		}
		return ids
	}
	var memo rotation.Memo[V]
	for _, r := range w.Entries {
		named, slot := name(r.Name), rotation.Previous
		if r.Slot == rotation.Current.String() {
			slot = rotation.Current
		}
		value, id, ok := m.codec.read(memory, named, r)
		switch {
		case ok:
		case r.Declared:
			id = named // its last use is all that is wanted
		default:
			continue // it cannot be accepted, and nobody is the worse for it
		}
		if id != named {
			delete(s.names, named)
		}
		memo.Entries = append(memo.Entries, rotation.Record[V]{
			ID: id, Value: value, Slot: slot, Declared: r.Declared, LastUsed: r.LastUsed,
			Deadline: r.Deadline, Cap: r.Cap, Renewed: r.Renewed, Order: r.Order,
		})
	}
	s.manual, memo.Retired, memo.Ended = names(w.Revoked), names(w.Retired), names(w.Ended)
	if !good {
		return errNoState
	}
	s.ledger = rotation.Restore(memo, now, m.src.window)
	if c, ok := s.ledger.Current(); ok {
		s.current = c.ID
	}
	m.initial, m.was = s, maps.Clone(s.names)
	return nil
}

var errNoState = errors.New("agent: a state file with names that are none")

// forget takes back what restore took over, before anything is read.
func (m *member[V, S]) forget() { m.initial, m.was = nil, nil }

// adopt takes over what w revokes and retires and we do not know of.
func (m *member[V, S]) adopt(memory *verify.Memory, w writtenSource) {
	m.value.Apply(func(prev *state[V, S], _ time.Time) *state[V, S] {
		if last := m.last.Load(); last != nil { // closed: what there was is still to be written
			m.last.Store(m.merged(last, memory, w))
			return prev
		}
		return m.merged(m.base(prev), memory, w)
	})
}

func (m *member[V, S]) merged(s *state[V, S], memory *verify.Memory, w writtenSource) *state[V, S] {
	nameOf := func(id rotation.ID) rotation.ID {
		if _, is := s.names[id]; is {
			return id
		}
		return memory.Name(id)
	}
	known := make(map[rotation.ID]bool)
	for _, id := range s.manual {
		known[nameOf(id)] = true
	}
	for _, id := range s.ledger.Memo(time.Time{}).Retired {
		known[nameOf(id)] = true
	}
	own := make(map[rotation.ID]rotation.ID)
	if s.ledger != nil {
		for i := range s.ledger.Entries {
			id := s.ledger.Entries[i].ID
			own[nameOf(id)] = id
		}
	}
	next := *s
	next.names = maps.Clone(s.names)
	news := func(texts []string) (ids []rotation.ID) {
		for _, text := range texts {
			name, ok := unhex(text)
			if !ok || known[name] {
				continue
			}
			id, met := own[name]
			if !met {
				id = name
				if next.names == nil {
					next.names = make(map[rotation.ID]struct{})
				}
				next.names[name] = struct{}{}
			}
			ids = append(ids, id)
		}
		return ids
	}
	revoked, retired := news(w.Revoked), news(w.Retired)
	if len(revoked)+len(retired) == 0 {
		return s
	}
	next.manual = slices.Concat(s.manual, revoked)
	l := s.ledger.Revoke(m.named(s, nil, revoked)...)
	if len(retired) > 0 {
		l = l.Hold(retired...)
	}
	return m.with(&next, l, nil)
}

// write returns what to write down, and false once there is nothing any more.
func (m *member[V, S]) write(memory *verify.Memory, now time.Time) (writtenSource, bool) {
	s := m.base(m.value.Load())
	if m.closed.Load() { // then s may be empty; what there was, Close keeps
		if s = m.last.Load(); s == nil {
			return writtenSource{}, false
		}
	}
	name := func(id rotation.ID) string {
		if _, is := s.names[id]; !is {
			id = memory.Name(id)
		}
		return hex.EncodeToString(id[:])
	}
	names := func(ids []rotation.ID) (texts []string) {
		for _, id := range ids {
			texts = append(texts, name(id))
		}
		return texts
	}
	memo := s.ledger.Memo(now)
	w := writtenSource{
		Name: m.src.name, Kind: m.src.kind, Location: m.src.identity, Entries: []writtenRecord{},
		Revoked: names(s.manual), Retired: names(memo.Retired), Ended: names(memo.Ended), LastUsed: utc(s.lastPrevious),
	}
	for _, r := range memo.Entries {
		record := writtenRecord{
			Name: name(r.ID), Fingerprint: r.Value.Fingerprint(), Slot: r.Slot.String(), Declared: r.Declared, LastUsed: utc(r.LastUsed),
			Deadline: utc(r.Deadline), Cap: utc(r.Cap), Renewed: utc(r.Renewed), Order: r.Order,
		}
		m.codec.write(r.Value, &record)
		w.Entries = append(w.Entries, record)
	}
	return w, true
}
