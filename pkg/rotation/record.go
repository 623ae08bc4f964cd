package rotation

import (
	"maps"
	"slices"
	"time"
)

// A Record is what has to be written down of a credential for it to outlive the
// process: that it was current, or the window that it was left. Times are by the
// wall clock.
type Record[V any] struct {
	ID    ID
	Value V
	Slot  Slot // Current, or Previous for one that is remembered

	// Of slot Previous.
	Deadline time.Time // the latest that it can be: the Cap of a window that slides
	Slides   bool
	Renewed  time.Time // when a window that slides was last renewed; zero while it waits for the first use
	LastUsed time.Time // zero for never
}

// Records returns what to write down of l at now: the current credential and
// those that are remembered and live; what the source declares otherwise it will
// declare again. retired are those that Retire took out while their source
// declared them, so that the declaration does not bring them back.
func (l *Ledger[V]) Records(now time.Time) (records []Record[V], retired []ID) {
	if l == nil {
		return nil, nil
	}
	for i := range l.Entries {
		e := &l.Entries[i]
		r := Record[V]{ID: e.ID, Value: e.Value, Slot: e.Slot}
		switch {
		case e.Slot == Current:
		case e.Slot == Previous && !e.Declared && e.Live(now):
			r.LastUsed = e.Use.Last()
			r.Deadline, r.Slides, r.Renewed = e.lease.written(now)
		default:
			continue
		}
		records = append(records, r)
	}
	for _, e := range l.ended {
		if e.retired {
			retired = append(retired, e.id)
		}
	}
	return records, retired
}

// Restore returns the ledger that had these records, as it is at now under w,
// with Number 0. Advance goes on from there: a recorded current credential that
// the source no longer declares was superseded, at the latest, now.
//
// A record can be old, its clock wrong, or w another one since. So no window is
// longer from now on than w would grant now: without an overlap in w, nothing
// superseded is restored. Of several records of one ID the first counts.
func Restore[V any](records []Record[V], retired []ID, now time.Time, w Window) *Ledger[V] {
	l := &Ledger[V]{}
	seen := make(map[ID]struct{}, len(records))
	for _, r := range records {
		if _, twice := seen[r.ID]; twice {
			continue
		}
		seen[r.ID] = struct{}{}
		e := Entry[V]{Decl: Decl[V]{ID: r.ID, Slot: r.Slot, Value: r.Value}, Use: new(Use)}
		switch r.Slot {
		case Current:
			if _, two := l.Current(); two {
				continue
			}
			l.Entries = slices.Insert(l.Entries, 0, e) // where Current looks
			continue
		case Previous:
			e.lease = w.restored(r.Deadline, r.Slides, r.Renewed, now)
		default:
			continue
		}
		if !r.LastUsed.IsZero() {
			e.Use.Mark(r.LastUsed)
		}
		if e.Live(now) {
			l.Entries = append(l.Entries, e)
		}
	}
	ending := newEnding(nil)
	for _, id := range retired {
		ending.add(id).retired = true
	}
	l.settle(ending.list)
	return l
}

// Rename returns l with the IDs that are keys of names replaced by their values.
// It is for credentials that were restored under another name than the one by
// which the source is about to declare them. Number stays: nothing changes about
// what is accepted. An ID that is there already keeps its own entry.
func (l *Ledger[V]) Rename(names map[ID]ID) *Ledger[V] {
	if l == nil || len(names) == 0 {
		return l
	}
	n := &Ledger[V]{Number: l.Number, Entries: slices.Clone(l.Entries), revoked: maps.Clone(l.revoked), ended: slices.Clone(l.ended)}
	taken := make(map[ID]struct{}, len(l.Entries))
	for i := range l.Entries {
		taken[l.Entries[i].ID] = struct{}{}
	}
	for i := range n.Entries {
		e := &n.Entries[i]
		name, ok := names[e.ID]
		if _, there := taken[name]; ok && !there {
			e.ID = name
		}
	}
	for from, to := range names {
		if _, ok := n.revoked[from]; ok {
			delete(n.revoked, from)
			n.revoked[to] = struct{}{}
		}
	}
	for i := range n.ended {
		if to, ok := names[n.ended[i].id]; ok {
			n.ended[i].id = to
		}
	}
	return n
}

// written returns the terms of a remembered lease by the wall clock of now.
func (l *lease) written(now time.Time) (deadline time.Time, slides bool, renewed time.Time) {
	deadline = onWall(l.from.Add(l.length), now)
	state := l.state.Load()
	if slides = l.overlap > 0; slides && state != waiting {
		renewed = onWall(l.from.Add(time.Duration(state)), now)
	}
	return deadline, slides, renewed
}

// restored returns the lease with the terms that were written, as far as w grants
// them from now.
func (w Window) restored(deadline time.Time, slides bool, renewed, now time.Time) *lease {
	if slides && !w.slides() && !renewed.IsZero() {
		// It slid; now it ends where its last renewal left it.
		if end := renewed.Add(w.Overlap); end.Before(deadline) {
			deadline = end
		}
	}
	l := &lease{from: now, length: min(deadline.Sub(now), w.longest())}
	if !slides || !w.slides() {
		return l
	}
	l.overlap = w.Overlap
	l.state.Store(waiting)
	if !renewed.IsZero() {
		// None can have been later than now, whatever the clock said then.
		l.state.Store(min(int64(renewed.Sub(now)), 0))
	}
	return l
}
