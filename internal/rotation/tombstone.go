package rotation

import (
	"cmp"
	"slices"
	"time"
)

// A tombstone stands for a credential that was superseded and is accepted no more:
// so that its use can be told from a guess, and so that it does not come back.
type tombstone struct {
	id ID
	// retired holds the credential back while the source still declares it
	// previous.
	retired bool
	// until is the declared deadline that has passed, which holds it back while
	// the source declares that or an earlier one. Zero where it had none.
	until time.Time
	// named says that the source still says something of it, so that the tombstone
	// is not forgotten.
	named bool
}

// holds reports whether the tombstone does more than name the reason of a refusal.
func (t *tombstone) holds() bool { return t.retired || !t.until.IsZero() }

// maxEnded bounds how many tombstones that the source does not name are kept.
const maxEnded = 256

// A tombstones gathers the tombstones of a new ledger. It begins with those of the
// ledger before, which it does not modify.
type tombstones struct {
	list   []tombstone // oldest first
	before map[ID]int  // where in list, of those that there were
	added  map[ID]int  // the others
}

func newTombstones(before []tombstone, at map[ID]int) *tombstones {
	return &tombstones{list: slices.Clone(before), before: at, added: make(map[ID]int)}
}

// sourceRead forgets which credentials the source names: it is about to be said
// again.
func (g *tombstones) sourceRead() {
	for i := range g.list {
		g.list[i].named = false
	}
}

// find returns where the tombstone of the credential id is.
func (g *tombstones) find(id ID) (i int, ok bool) {
	if i, ok = g.before[id]; !ok {
		i, ok = g.added[id]
	}
	return i, ok
}

// add returns the tombstone of the credential id, a new one where there was none.
// It may be used until the next add.
func (g *tombstones) add(id ID) *tombstone {
	i, ok := g.find(id)
	if !ok {
		i = len(g.list)
		g.added[id] = i
		g.list = append(g.list, tombstone{id: id})
	}
	return &g.list[i]
}

// passed notes that the deadline has passed until which the credential id is, or
// was, declared previous.
func (g *tombstones) passed(id ID, until time.Time) *tombstone {
	t := g.add(id)
	if until.After(t.until) {
		t.until = until
	}
	return t
}

// bars reports whether the credential id, declared previous until then, stays
// ended. The tombstone that bars it is kept for as long as it is declared.
func (g *tombstones) bars(id ID, until time.Time) bool {
	i, ok := g.find(id)
	if !ok {
		return false
	}
	t := &g.list[i]
	bars := t.retired || !until.IsZero() && !until.After(t.until)
	t.named = t.named || bars
	return bars
}

// settle finishes a ledger: it sorts the entries, tells each what its use opens,
// and takes over the tombstones, which are its own then, but for those of
// credentials that are accepted, or revoked anyway. One that holds its credential
// back outlives its revocation.
func (l *Ledger[V]) settle(tombs []tombstone) {
	slices.SortStableFunc(l.Entries, func(a, b Entry[V]) int {
		if a.Slot != b.Slot || a.Slot != Previous {
			return cmp.Compare(a.Slot, b.Slot)
		}
		return b.window.compare(a.window)
	})
	l.openings()
	if len(tombs) == 0 {
		return
	}
	accepted := make(map[ID]struct{}, len(l.Entries))
	for i := range l.Entries {
		accepted[l.Entries[i].ID] = struct{}{}
	}
	kept := slices.DeleteFunc(tombs, func(t tombstone) bool {
		_, ok := accepted[t.id]
		return ok || !t.holds() && l.Revoked(t.id)
	})
	// Forget the oldest first, and never one that the source names.
	surplus := len(kept) - maxEnded
	l.ended = slices.DeleteFunc(kept, func(t tombstone) bool {
		surplus--
		return surplus >= 0 && !t.named
	})
	l.endedAt = make(map[ID]int, len(l.ended))
	for i := range l.ended {
		l.endedAt[l.ended[i].id] = i
	}
}

// compare orders windows by when they end at the latest, no end last.
func (l *window) compare(o *window) int {
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
