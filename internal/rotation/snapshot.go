package rotation

import (
	"bytes"
	"cmp"
	"maps"
	"slices"
	"time"
)

// A Snapshot is what has to be written down of a ledger for it to outlive the
// process. Times are by the wall clock.
type Snapshot[V any] struct {
	Entries []SnapshotEntry[V]
	Revoked []ID // sorted
	// Names are those of each revoked credential that has any: all that it has had
	// since it was revoked, sorted.
	Names map[ID][]ID
	// Unrevoked is what the last content lifted, sorted, so that it does not lift
	// a later revocation after a restart.
	Unrevoked []ID
	// Retired are those that Retire took out while their source declared them, so
	// that the declaration does not bring them back.
	Retired []ID
	// Ended are others that are accepted no more, the latest last, so that their
	// use can be told from a guess.
	Ended []ID
}

// A SnapshotEntry is one credential of a Snapshot: that it was current, the window that it
// was left, or when it was used.
type SnapshotEntry[V any] struct {
	ID    ID
	Names []ID // as in Decl
	Value V
	Slot  Slot // Current or Previous
	// Declared says that the source will declare it again, so that no window is
	// needed of it, but only its last use.
	Declared bool

	// Of slot Previous.
	LastUsed time.Time // zero for never
	Deadline time.Time // as things stood
	// Of a window that slides.
	Cap     time.Time // the latest that the deadline can be; zero for one that does not slide
	Renewed time.Time // zero while it waits for the first use
	Order   int64     // of the windows: the one granted later is greater
}

// maxWritten is how many ends are written down for telling alone.
const maxWritten = 32

// Snapshot returns what to write down of l at now: the current credential, those
// that are remembered and live, the last uses of those that are declared previous,
// and what is refused. What the source declares otherwise it will declare again.
func (l *Ledger[V]) Snapshot(now time.Time) Snapshot[V] {
	var m Snapshot[V]
	if l == nil {
		return m
	}
	for i := range l.Entries {
		e := &l.Entries[i]
		r := SnapshotEntry[V]{ID: e.ID, Names: e.Names, Value: e.Value, Slot: e.Slot, Declared: e.Declared}
		switch {
		case e.Slot == Current:
		case e.Slot == Previous && e.Declared:
			if r.LastUsed = e.Use.Last(); r.LastUsed.IsZero() {
				continue
			}
		case e.Slot == Previous && e.Live(now):
			r.LastUsed = e.Use.Last()
			r.Deadline, r.Cap, r.Order = e.Deadline(now), e.Cap(now), e.window.order
			r.Renewed = e.window.renewed(now)
		default:
			continue
		}
		m.Entries = append(m.Entries, r)
	}
	m.Revoked, m.Unrevoked = sorted(l.revoked), sorted(l.lifted)
	for id, names := range l.names {
		if m.Names == nil {
			m.Names = make(map[ID][]ID, len(l.names))
		}
		m.Names[id] = slices.SortedFunc(slices.Values(names), compare)
	}
	for _, e := range l.ended {
		if e.retired {
			m.Retired = append(m.Retired, e.id)
		} else {
			m.Ended = append(m.Ended, e.id)
		}
	}
	m.Ended = m.Ended[max(0, len(m.Ended)-maxWritten):]
	return m
}

func sorted(set map[ID]struct{}) []ID {
	return slices.SortedFunc(maps.Keys(set), compare)
}

func compare(a, b ID) int { return bytes.Compare(a[:], b[:]) }

func setOf(ids []ID) map[ID]struct{} {
	set := make(map[ID]struct{}, len(ids))
	for _, id := range ids {
		set[id] = struct{}{}
	}
	return set
}

// Restore returns the ledger that had this Snapshot, as it is at now under w, with
// Number 0. Advance goes on from there: a recorded current credential that the
// source no longer declares was superseded, at the latest, now.
//
// A Snapshot can be old, its clock wrong, or w another one since. So no window is
// longer from now on than w would grant now, and what had ended has ended:
// without an overlap in w, nothing superseded is restored. Of several records of
// one ID the first counts.
func Restore[V any](m Snapshot[V], now time.Time, w Window) *Ledger[V] {
	l := &Ledger[V]{uses: make(map[ID]*Use), revoked: setOf(m.Revoked), lifted: setOf(m.Unrevoked)}
	l.keepNames(&Ledger[V]{names: m.Names})
	seen := make(map[ID]struct{}, len(m.Entries))
	for _, r := range m.Entries {
		if _, twice := seen[r.ID]; twice {
			continue
		}
		seen[r.ID] = struct{}{}
		if l.refuses(&Decl[V]{ID: r.ID, Names: r.Names}) {
			continue
		}
		e := Entry[V]{Decl: Decl[V]{ID: r.ID, Names: r.Names, Slot: r.Slot, Value: r.Value}, Use: new(Use)}
		switch {
		case !r.LastUsed.IsZero() && now.Before(r.LastUsed):
			e.Use.Mark(now) // whatever the clock said then
		case !r.LastUsed.IsZero():
			e.Use.Mark(r.LastUsed)
		}
		switch _, two := l.Current(); {
		case r.Slot == Current && !two:
			l.Entries = slices.Insert(l.Entries, 0, e) // where Current looks
		case r.Slot == Previous && r.Declared:
			l.uses[r.ID] = e.Use
		case r.Slot == Previous:
			if e.window = restored(r, now, w); e.Live(now) {
				l.Entries = append(l.Entries, e)
			}
		}
	}
	l.reorder()
	tombs := newTombstones(nil, nil)
	for _, id := range m.Retired {
		o := tombs.add(id)
		o.retired, o.named = true, true // until the source is read
	}
	for _, id := range m.Ended {
		tombs.add(id)
	}
	l.settle(tombs.list)
	return l
}

// reorder puts the restored windows before all that are granted from now on.
func (l *Ledger[V]) reorder() {
	var all []*window
	for i := range l.Entries {
		if o := l.Entries[i].window; o != nil {
			all = append(all, o)
		}
	}
	slices.SortStableFunc(all, func(a, b *window) int { return cmp.Compare(a.order, b.order) })
	for i, o := range all {
		o.order = int64(i - len(all))
	}
}

// renewed returns when a window that slides was last renewed, by the wall clock
// of now, and the zero Time for one that waits or does not slide.
func (l *window) renewed(now time.Time) time.Time {
	if state := l.state.Load(); l.overlap > 0 && state != waiting {
		return onWall(l.from.Add(time.Duration(state)), now)
	}
	return time.Time{}
}

// restored returns the window of the record r, as far as w grants it from now.
func restored[V any](r SnapshotEntry[V], now time.Time, w Window) *window {
	l := &window{from: now, length: min(r.Deadline.Sub(now), w.longest()), order: r.Order}
	if r.Cap.IsZero() || !w.slides() || l.length <= 0 {
		return l // with a fixed deadline; or it had ended
	}
	l.length = min(r.Cap.Sub(now), w.longest())
	l.overlap = w.Overlap
	l.state.Store(waiting)
	if !r.Renewed.IsZero() {
		// None can have been later than now, whatever the clock said then.
		l.state.Store(min(int64(r.Renewed.Sub(now)), 0))
	}
	return l
}
