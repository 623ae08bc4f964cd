package agent

import (
	"encoding/hex"
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

// restore takes over what w says; the zero one says nothing.
func (m *member[V, S]) restore(k *keeper, w writtenSource, now time.Time) error {
	m.initial = nil
	if w.Kind == "" {
		return nil
	}
	good := true
	memory := verify.NewMemory(k.key)
	s := &state[V, S]{names: make(map[rotation.ID]struct{})}
	name := func(text string) rotation.ID {
		id, ok := unhex(text)
		good = good && ok
		s.names[id] = struct{}{}
		return id
	}
	var records []rotation.Record[V]
	for _, r := range w.Entries {
		named, slot := name(r.Name), rotation.Previous
		if r.Slot == rotation.Current.String() {
			slot = rotation.Current
		}
		value, id, ok := m.codec.read(memory, named, r)
		if !ok {
			continue // it cannot be accepted, and nobody is the worse for it
		}
		if id != named {
			delete(s.names, named)
		}
		records = append(records, rotation.Record[V]{
			ID: id, Value: value, Slot: slot,
			Deadline: r.Deadline, Slides: r.Slides, Renewed: r.Renewed, LastUsed: r.LastUsed,
		})
	}
	for _, text := range w.Revoked {
		s.manual = append(s.manual, name(text))
	}
	var retired []rotation.ID
	for _, text := range w.Retired {
		retired = append(retired, name(text))
	}
	if !good {
		return k.damaged()
	}
	s.ledger = rotation.Restore(records, retired, now, m.src.window)
	if c, ok := s.ledger.Current(); ok {
		s.current = c.ID
	}
	m.initial = s
	return nil
}

// write returns what to write down, and false once there is nothing any more.
func (m *member[V, S]) write(k *keeper, now time.Time) (writtenSource, bool) {
	s := m.base(m.value.Load())
	if m.closed.Load() { // then s may be empty; what there was, Close keeps
		if s = m.last.Load(); s == nil {
			return writtenSource{}, false
		}
	}
	w := writtenSource{Name: m.src.name, Kind: m.src.kind, Location: m.src.identity, Entries: []writtenRecord{}}
	name := func(id rotation.ID) string {
		if _, is := s.names[id]; !is {
			id = k.memory.Name(id)
		}
		return hex.EncodeToString(id[:])
	}
	records, retired := s.ledger.Records(now)
	for _, r := range records {
		record := writtenRecord{
			Name: name(r.ID), Fingerprint: r.Value.Fingerprint(), Slot: r.Slot.String(),
			Deadline: utc(r.Deadline), Slides: r.Slides, Renewed: utc(r.Renewed), LastUsed: utc(r.LastUsed),
		}
		m.codec.write(r.Value, &record)
		w.Entries = append(w.Entries, record)
	}
	for _, id := range s.manual {
		w.Revoked = append(w.Revoked, name(id))
	}
	for _, id := range retired {
		w.Retired = append(w.Retired, name(id))
	}
	return w, true
}
