package rotation

import (
	"cmp"
	"encoding/binary"
	"math/bits"
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

// An endIndex says where in a list of ends each ID stands: a hash table with open
// addressing, at most half full, of one more than that. IDs are hashes already. It is
// made at each rotation, and a map would cost twenty times as much.
type endIndex []uint32

func indexEnds(list []end) endIndex {
	if len(list) == 0 {
		return nil
	}
	x := make(endIndex, 1<<bits.Len(uint(2*len(list))))
	for i := range list {
		*x.slot(list, list[i].id) = uint32(i + 1)
	}
	return x
}

// slot returns where x has, or would have, the ID.
func (x endIndex) slot(list []end, id ID) *uint32 {
	for h := binary.LittleEndian.Uint64(id[:]); ; h++ {
		s := &x[h&uint64(len(x)-1)]
		if *s == 0 || list[*s-1].id == id {
			return s
		}
	}
}

// find returns where in list, which x is of, the ID stands.
func (x endIndex) find(list []end, id ID) (i int, ok bool) {
	if x == nil {
		return 0, false
	}
	n := *x.slot(list, id)
	return int(n) - 1, n > 0
}

// ending gathers the ends of a new ledger, beginning with those of the one
// before, of which nothing is modified.
type ending struct {
	list   []end
	before endIndex   // of those that there were
	added  map[ID]int // the others
}

func newEnding(before []end, at endIndex) *ending {
	e := &ending{list: slices.Clone(before), before: at, added: make(map[ID]int)}
	for i := range e.list {
		e.list[i].named = false
	}
	return e
}

// find returns where the end of the credential id is.
func (e *ending) find(id ID) (i int, ok bool) {
	if i, ok = e.before.find(e.list, id); !ok {
		i, ok = e.added[id]
	}
	return i, ok
}

// add returns the end of the credential id, which is a new one where there was
// none. It is good until the next add.
func (e *ending) add(id ID) *end {
	i, ok := e.find(id)
	if !ok {
		i = len(e.list)
		e.added[id] = i
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
// and takes over of ending, which is its own then, what is not accepted, or revoked
// anyway. One that holds its credential back outlives its revocation.
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
	kept := slices.DeleteFunc(ending, func(e end) bool {
		_, ok := accepted[e.id]
		return ok || !e.holds() && l.Revoked(e.id)
	})
	// Forget the oldest first, and never one that is held back.
	surplus := len(kept) - maxEnded
	l.ended = slices.DeleteFunc(kept, func(e end) bool {
		surplus--
		return surplus >= 0 && !e.named
	})
	l.endedAt = indexEnds(l.ended)
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
