package agent

import (
	"encoding/hex"
	"errors"
	"slices"
	"time"

	"github.com/tokenagent/tokenagent/internal/rotation"
)

// A codec stores a credential in a storedRecord, without revealing a secret, and restores
// it.
type codec[V credential] struct {
	write func(v V, r *storedRecord)
	// read returns false if the record holds no credential.
	read func(id rotation.ID, r storedRecord) (V, bool)
	// names returns the IDs, other than its own, by which a credential can be revoked.
	// nil if there are none.
	names func(V) []rotation.ID
}

// restore makes the state in w the initial state.
func (m *typedSource[V, S]) restore(w storedSource, now time.Time) error {
	snapshot, ok := m.decode(w)
	if !ok {
		return errInvalidDigest
	}
	s := &state[V, S]{ledger: rotation.Restore(snapshot, now, m.src.window), lastPrevious: w.LastUsed}
	if c, ok := s.ledger.Current(); ok {
		s.current = c.ID
	}
	m.initial = s
	return nil
}

// decode returns the snapshot in w, without invalid digests. good is false if there was
// one.
func (m *typedSource[V, S]) decode(w storedSource) (out rotation.Snapshot[V], good bool) {
	good = true
	id := func(text string) rotation.ID {
		id, ok := decodeDigest(text)
		good = good && ok
		return id
	}
	ids := func(texts []string) (out []rotation.ID) {
		for _, text := range texts {
			if id, ok := decodeDigest(text); ok {
				out = append(out, id)
			} else {
				good = false
			}
		}
		return out
	}
	for _, r := range w.Entries {
		e := rotation.SnapshotEntry[V]{
			ID: id(r.ID), Slot: rotation.Previous, Declared: r.Declared, LastUsed: r.LastUsed,
			Deadline: r.Deadline, Cap: r.Cap, Renewed: r.Renewed, Order: r.Order,
		}
		if r.Slot == rotation.Current.String() {
			e.Slot = rotation.Current
		}
		var ok bool
		if e.Value, ok = m.codec.read(e.ID, r); !ok && !r.Declared { // a declared credential needs only its last use
			continue // without its value the credential cannot be accepted
		}
		if m.codec.names != nil {
			e.Names = m.codec.names(e.Value)
		}
		out.Entries = append(out.Entries, e)
	}
	out.Names = make(map[rotation.ID][]rotation.ID, len(w.Names))
	for key, names := range w.Names {
		out.Names[id(key)] = ids(names)
	}
	out.Revoked, out.Unrevoked = ids(w.Revoked), ids(w.Unrevoked)
	out.Retired, out.Ended = ids(w.Retired), ids(w.Ended)
	return out, good
}

var errInvalidDigest = errors.New("agent: the state file has an invalid digest")

// forget undoes restore. It must be called before open.
func (m *typedSource[V, S]) forget() { m.initial = nil }

// adopt adds the revocations and retirements of w to the state.
func (m *typedSource[V, S]) adopt(w storedSource) {
	snapshot, _ := m.decode(w)
	m.value.Apply(func(prev *state[V, S], _ time.Time) *state[V, S] {
		if last := m.last.Load(); last != nil { // closed, but the last state must still be saved
			m.last.Store(m.adopted(last, snapshot))
			return prev
		}
		return m.adopted(m.orInitial(prev), snapshot)
	})
}

// adopted returns s with the revocations and retirements of snapshot.
func (m *typedSource[V, S]) adopted(s *state[V, S], snapshot rotation.Snapshot[V]) *state[V, S] {
	l := s.ledger.Adopt(snapshot, func(id rotation.ID) bool { return slices.Contains(s.lifted, id) })
	if l == s.ledger {
		return s
	}
	return m.with(s, l, nil)
}

// write returns the state to save, and false if the source is closed and close has not
// stored a last state yet.
func (m *typedSource[V, S]) write(now time.Time) (storedSource, bool) {
	s := m.orInitial(m.value.Load())
	if m.closed.Load() { // s may be the empty state that close publishes
		if s = m.last.Load(); s == nil {
			return storedSource{}, false
		}
	}
	digests := func(ids []rotation.ID) (texts []string) {
		for _, id := range ids {
			texts = append(texts, hex.EncodeToString(id[:]))
		}
		return texts
	}
	snapshot := s.ledger.Snapshot(now)
	w := storedSource{
		Name: m.src.name, Kind: m.src.kind, Location: m.src.identity, Entries: []storedRecord{},
		Revoked: digests(snapshot.Revoked), Unrevoked: digests(snapshot.Unrevoked),
		Retired: digests(snapshot.Retired), Ended: digests(snapshot.Ended), LastUsed: utc(s.lastPrevious),
	}
	for id, names := range snapshot.Names {
		if w.Names == nil {
			w.Names = make(map[string][]string)
		}
		w.Names[hex.EncodeToString(id[:])] = digests(names)
	}
	for _, r := range snapshot.Entries {
		record := storedRecord{
			ID: hex.EncodeToString(r.ID[:]), Slot: r.Slot.String(), Declared: r.Declared, LastUsed: utc(r.LastUsed),
			Deadline: utc(r.Deadline), Cap: utc(r.Cap), Renewed: utc(r.Renewed), Order: r.Order,
		}
		m.codec.write(r.Value, &record)
		w.Entries = append(w.Entries, record)
	}
	return w, true
}
