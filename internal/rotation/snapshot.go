package rotation

import (
	"bytes"
	"cmp"
	"encoding/json"
	"maps"
	"slices"
	"time"
)

// A Snapshot is the state of a ledger that must outlive the process. Its JSON is the
// format of the state file. Its times are wall-clock times. The zero Snapshot is empty.
type Snapshot struct {
	Entries []SnapshotEntry `json:"entries"`
	Revoked []ID            `json:"revoked,omitempty"` // sorted
	// Names holds, for each revoked credential, all names that it has had since its
	// revocation, sorted.
	Names map[ID][]ID `json:"revoked_names,omitempty"`
	// Unrevoked lists the IDs that the last content unrevoked, sorted. They do not lift a
	// later revocation after a restart.
	Unrevoked []ID `json:"unrevoked,omitempty"`
	// Retired lists the credentials that Retire ended while their source declared them.
	// Their declaration does not restore them.
	Retired []ID `json:"retired,omitempty"`
	// Ended lists other credentials that are no longer accepted, the latest last. The
	// list lets a verifier tell the use of an ended credential from a guess.
	Ended []ID `json:"ended,omitempty"`
}

// A SnapshotEntry is one credential of a Snapshot: a current credential, a superseded
// credential with its window, or the last use of a declared previous credential.
type SnapshotEntry struct {
	ID     ID              `json:"sha256"`
	Client string          `json:"client,omitempty"` // as in Decl
	Names  []ID            `json:"names,omitempty"`  // as in Decl
	Value  json.RawMessage `json:"key,omitempty"`    // the encoded credential; empty if it is secret
	Slot   Slot            `json:"slot"`             // Current or Previous
	// Declared reports whether the source declares the credential. A declared previous
	// credential has only a last use here, and no window.
	Declared bool `json:"declared,omitempty"`

	// The following fields apply to slot Previous.
	LastUsed time.Time `json:"last_used,omitzero"` // zero if never used
	Deadline time.Time `json:"deadline,omitzero"`  // the deadline when the snapshot was taken
	// Cap and Renewed apply to a sliding window.
	Cap     time.Time `json:"cap,omitzero"`     // the latest possible deadline; zero if the window does not slide
	Renewed time.Time `json:"renewed,omitzero"` // the last renewal; zero while the window waits for the first use
	Order   int64     `json:"order,omitempty"`  // a window that is granted later has a greater Order
}

// maxSavedEnded bounds the length of Snapshot.Ended.
const maxSavedEnded = 32

// Snapshot returns the state of l at now: the current credentials, the remembered
// credentials that are live, the last uses of the declared previous credentials, and the
// refused credentials. The snapshot omits other declared credentials, because the source
// declares them again after a restart. The function encode returns the Value of an entry,
// or nil if a credential must not be stored; a nil encode stores none.
func (l *Ledger[V]) Snapshot(now time.Time, encode func(V) json.RawMessage) Snapshot {
	m := Snapshot{Entries: []SnapshotEntry{}}
	for i := range l.Entries {
		e := &l.Entries[i]
		r := SnapshotEntry{ID: e.ID, Client: e.Client, Names: e.Names, Slot: e.Slot, Declared: e.Declared}
		switch {
		case e.Slot == Current:
		case e.Slot == Previous && e.Declared:
			if r.LastUsed = e.Use.Last().UTC(); r.LastUsed.IsZero() {
				continue
			}
		case e.Slot == Previous && e.Live(now):
			r.LastUsed, r.Deadline, r.Cap = e.Use.Last().UTC(), e.Deadline(now).UTC(), e.Cap(now).UTC()
			r.Renewed, r.Order = e.window.renewed(now).UTC(), e.window.order
		default:
			continue
		}
		if encode != nil {
			r.Value = encode(e.Value)
		}
		m.Entries = append(m.Entries, r)
	}
	for _, id := range sorted(l.uses) { // restored, and the source has not been read since
		m.Entries = append(m.Entries, SnapshotEntry{ID: id, Slot: Previous, Declared: true, LastUsed: l.uses[id].Last().UTC()})
	}
	m.Revoked, m.Unrevoked = sorted(l.revoked), sorted(l.lifted)
	m.Names = make(map[ID][]ID, len(l.names))
	for id, names := range l.names {
		m.Names[id] = slices.SortedFunc(slices.Values(names), compare)
	}
	for _, e := range l.ended.list {
		if e.retired {
			m.Retired = append(m.Retired, e.id)
		} else {
			m.Ended = append(m.Ended, e.id)
		}
	}
	m.Ended = m.Ended[max(0, len(m.Ended)-maxSavedEnded):]
	return m
}

func sorted[T any](set map[ID]T) []ID {
	return slices.SortedFunc(maps.Keys(set), compare)
}

func compare(a, b ID) int { return bytes.Compare(a[:], b[:]) }

// Restore returns the ledger of the snapshot m, as of now and under the window w, with
// Number 0. Call Advance with the content of the source next. If the source no longer
// declares a current credential of m, Advance treats the credential as superseded at now.
//
// The snapshot can be old, its clock can have been wrong, and w can have changed. So a
// restored window is never longer than a window that w grants now, and an ended window
// stays ended. If w has no overlap, Restore restores no superseded credential. If m has
// several entries with one ID, the first one counts.
//
// The function decode returns the credential of an entry, and false if the entry holds
// none. Without a credential Restore uses only the last use of a declared previous entry.
// If decode is nil, each credential is the zero V.
func Restore[V any](m Snapshot, now time.Time, w Window, decode func(SnapshotEntry) (V, bool)) *Ledger[V] {
	l := &Ledger[V]{uses: make(map[ID]*Use), revoked: withAll(nil, m.Revoked), lifted: make(map[ID]bool, len(m.Unrevoked))}
	for _, id := range m.Unrevoked {
		l.lifted[id] = false // a snapshot does not say whether there was a revocation to lift
	}
	l.keepNames(&Ledger[V]{names: m.Names})
	seen, current := make(map[ID]bool, len(m.Entries)), make(map[string]bool)
	for _, r := range m.Entries {
		if seen[r.ID] {
			continue
		}
		seen[r.ID] = true
		if l.refuses(&Decl[V]{ID: r.ID, Names: r.Names}) {
			continue
		}
		e := Entry[V]{Decl: Decl[V]{ID: r.ID, Client: r.Client, Names: r.Names, Slot: r.Slot}, Since: now, Use: new(Use)}
		if decode != nil {
			var ok bool
			if e.Value, ok = decode(r); !ok && (r.Slot == Current || !r.Declared) {
				continue
			}
		}
		switch used := r.LastUsed; {
		case used.After(now):
			e.Use.Mark(now) // the clock was wrong: no use is later than now
		case !used.IsZero():
			e.Use.Mark(used)
		}
		switch {
		case r.Slot == Current && !current[r.Client]:
			current[r.Client] = true
			l.Entries = append(l.Entries, e)
		case r.Slot == Previous && r.Declared:
			l.uses[r.ID] = e.Use
		case r.Slot == Previous:
			if e.window = restored(r, now, w); e.Live(now) {
				l.Entries = append(l.Entries, e)
			}
		}
	}
	l.reorder()
	tombs := l.ended.clone()
	for _, id := range m.Retired {
		t := tombs.add(id)
		t.retired, t.mentioned = true, true // the source may mention it
	}
	for _, id := range m.Ended {
		tombs.add(id)
	}
	l.settle(tombs)
	return l
}

// reorder gives the restored windows negative orders, so that they come before all
// windows that are granted from now on.
func (l *Ledger[V]) reorder() {
	var all []*window
	for i := range l.Entries {
		if w := l.Entries[i].window; w != nil {
			all = append(all, w)
		}
	}
	slices.SortStableFunc(all, func(a, b *window) int { return cmp.Compare(a.order, b.order) })
	for i, w := range all {
		w.order = int64(i - len(all))
	}
}

// renewed returns the last renewal of a sliding window, by the wall clock of now. It
// returns the zero Time if the window waits or does not slide.
func (w *window) renewed(now time.Time) time.Time {
	if state := w.state.Load(); w.overlap > 0 && state != waiting {
		return onWall(w.from.Add(time.Duration(state)), now)
	}
	return time.Time{}
}

// restored returns the window of the entry r, limited to a window that w grants at now.
func restored(r SnapshotEntry, now time.Time, w Window) *window {
	limited := &window{from: now, length: min(r.Deadline.Sub(now), w.longest()), order: r.Order}
	if r.Cap.IsZero() || !w.slides() || limited.length <= 0 {
		return limited // the window is fixed, or has ended
	}
	limited.length = min(r.Cap.Sub(now), w.longest())
	limited.overlap = w.Overlap
	limited.state.Store(waiting)
	if !r.Renewed.IsZero() {
		// No renewal is later than now, even if the clock was ahead.
		limited.state.Store(min(int64(r.Renewed.Sub(now)), 0))
	}
	return limited
}
