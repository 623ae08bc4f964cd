package rotation

import (
	"cmp"
	"slices"
	"time"
)

// An end remembers a credential that was superseded and is accepted no more, so
// that its use can be told from a guess, and so that it does not come back.
type end struct {
	id ID
	// retired holds it back while the source still declares it previous.
	retired bool
	// until is the declared deadline that has passed, which holds it back while
	// the source declares that or an earlier one. Zero where it had none.
	until time.Time
	// named says that the source declares it still, so that it is not forgotten.
	named bool
}

// holds reports whether the end is more than a word for refusals.
func (e *end) holds() bool { return e.retired || !e.until.IsZero() }

// maxEnded bounds what is remembered for telling alone.
const maxEnded = 256

// ending gathers the ends of a new ledger, beginning with those of the one
// before, of which nothing is modified.
type ending struct {
	list    []end
	lookups int
	at      map[ID]int // where each is in list; nil until there were a few lookups
}

// fewLookups are those that cost less than the map, which most rotations do without.
const fewLookups = 8

func newEnding(before []end) *ending {
	e := &ending{list: slices.Clone(before)}
	for i := range e.list {
		e.list[i].named = false
	}
	return e
}

// find returns where the end of the credential id is.
func (e *ending) find(id ID) (i int, ok bool) {
	if e.lookups++; e.at == nil && e.lookups <= fewLookups {
		i = slices.IndexFunc(e.list, func(o end) bool { return o.id == id })
		return i, i >= 0
	}
	if e.at == nil {
		e.at = make(map[ID]int, len(e.list))
		for i := range e.list {
			e.at[e.list[i].id] = i
		}
	}
	i, ok = e.at[id]
	return i, ok
}

// add returns the end of the credential id, which is a new one where there was
// none. It is good until the next add.
func (e *ending) add(id ID) *end {
	i, ok := e.find(id)
	if !ok {
		i = len(e.list)
		if e.at != nil {
			e.at[id] = i
		}
		e.list = append(e.list, end{id: id})
	}
	return &e.list[i]
}

// passed enters that the deadline has passed until which the credential id is, or
// was, declared previous.
func (e *ending) passed(id ID, until time.Time) *end {
	o := e.add(id)
	if until.After(o.until) {
		o.until = until
	}
	return o
}

// bars reports whether the credential id, declared previous until then, stays
// ended. What bars it is kept for as long as it is declared.
func (e *ending) bars(id ID, until time.Time) bool {
	i, ok := e.find(id)
	if !ok {
		return false
	}
	o := &e.list[i]
	bars := o.retired || !until.IsZero() && !until.After(o.until)
	o.named = o.named || bars
	return bars
}

// settle finishes a ledger: it sorts the entries, tells each what its use opens,
// and takes over of ending what is not accepted, or revoked anyway. One that
// holds its credential back outlives its revocation.
func (l *Ledger[V]) settle(ending []end) {
	slices.SortStableFunc(l.Entries, func(a, b Entry[V]) int {
		if a.Slot != b.Slot || a.Slot != Previous {
			return cmp.Compare(a.Slot, b.Slot)
		}
		return b.lease.compare(a.lease)
	})
	l.openings()
	if len(ending) == 0 {
		return
	}
	accepted := make(map[ID]struct{}, len(l.Entries))
	for i := range l.Entries {
		accepted[l.Entries[i].ID] = struct{}{}
	}
	kept := make([]end, 0, len(ending))
	for _, e := range ending {
		if _, ok := accepted[e.id]; !ok && (e.holds() || !l.Revoked(e.id)) {
			kept = append(kept, e)
		}
	}
	// Forget the oldest first, and never one that is held back.
	surplus := len(kept) - maxEnded
	l.ended = slices.DeleteFunc(kept, func(e end) bool {
		surplus--
		return surplus >= 0 && !e.named
	})
}

// compare orders leases by when they end at the latest, no end last.
func (l *lease) compare(o *lease) int {
	switch {
	case l == nil && o == nil:
		return 0
	case l == nil:
		return 1
	case o == nil:
		return -1
	}
	return l.from.Add(l.length).Compare(o.from.Add(o.length))
}
