package rotation

import (
	"cmp"
	"slices"
	"time"
)

// A Ledger is the accepted credentials at one moment. It is immutable (the Use
// of an Entry apart) and safe for concurrent use; its slices must not be
// modified. The nil Ledger is empty.
type Ledger[V any] struct {
	// Number counts the changes: 1 for the first ledger, one more for each
	// that follows.
	Number uint64
	// Entries holds each credential once, by slot: current, next, previous
	// (latest deadline first, undated before dated), listed. An entry whose
	// deadline has passed since stays until the next change.
	Entries []Entry[V]

	revoked map[ID]struct{}
	ended   []end // oldest first
}

// An end remembers a credential that was superseded and is accepted no more,
// so that its use can be told from a guess.
type end struct {
	id ID
	// retired holds it back while the source still declares it previous.
	retired bool
}

// maxEnded bounds what is remembered for telling alone.
const maxEnded = 256

// Current returns the entry in slot current. There is none where the source
// revoked it.
func (l *Ledger[V]) Current() (*Entry[V], bool) {
	if l == nil || len(l.Entries) == 0 || l.Entries[0].Slot != Current {
		return nil, false
	}
	return &l.Entries[0], true
}

// Revoked reports whether the credential id is revoked.
func (l *Ledger[V]) Revoked(id ID) bool {
	if l == nil {
		return false
	}
	_, ok := l.revoked[id]
	return ok
}

// Ended reports whether the credential id was superseded and is accepted no
// more. The last 256 are known.
func (l *Ledger[V]) Ended(id ID) bool {
	return l != nil && slices.ContainsFunc(l.ended, func(e end) bool { return e.id == id })
}

// EachRefused calls f for every credential that is known and refused: with
// revoked set for those that are revoked, else for those that have ended.
func (l *Ledger[V]) EachRefused(f func(id ID, revoked bool)) {
	if l == nil {
		return
	}
	for _, e := range l.ended {
		f(e.id, false)
	}
	for id := range l.revoked {
		f(id, true)
	}
}

// Advance returns the ledger that follows prev, which may be nil, when the
// source declares decls and revoked at now. It changes neither prev nor decls.
//
// What becomes of each credential:
//
//   - revoked: dropped, whatever else the source says of it;
//   - declared current, next or listed: accepted, without deadline, whatever it
//     was before;
//   - declared previous: accepted until exactly its Until, or while declared
//     where it has none; that beats a deadline remembered for it, both ways;
//   - absent, and current before: remembered as previous until now plus
//     w.Overlap;
//   - absent, and remembered: keeps its deadline;
//   - absent, and anything else before: dropped.
//
// A credential that is declared several times counts once, in the strongest
// slot: current, next, previous, listed. Of several that are declared current
// the first is; the others are listed.
func Advance[V any](prev *Ledger[V], decls []Decl[V], revoked []ID, now time.Time, w Window) *Ledger[V] {
	if prev == nil {
		prev = &Ledger[V]{}
	}
	n := &Ledger[V]{Number: prev.Number + 1}
	if len(revoked) > 0 {
		n.revoked = make(map[ID]struct{}, len(revoked))
		for _, id := range revoked {
			n.revoked[id] = struct{}{}
		}
	}
	before := make(map[ID]*Entry[V], len(prev.Entries))
	for i := range prev.Entries {
		before[prev.Entries[i].ID] = &prev.Entries[i]
	}
	ending := newEnding(prev)

	declared := strongest(decls)
	for _, d := range declared {
		if n.Revoked(d.ID) {
			continue
		}
		e := Entry[V]{Decl: d, Declared: true}
		if d.Slot == Previous {
			e.Deadline = d.Until
			if ending.retired(d.ID) || !e.Live(now) {
				ending.add(d.ID)
				continue
			}
		}
		if b := before[d.ID]; b != nil {
			e.Use = b.Use
		} else {
			e.Use = new(Use)
		}
		n.Entries = append(n.Entries, e)
	}

	named := make(map[ID]struct{}, len(declared))
	for _, d := range declared {
		named[d.ID] = struct{}{}
	}
	for _, b := range prev.Entries {
		if _, ok := named[b.ID]; ok || n.Revoked(b.ID) {
			continue
		}
		switch {
		case b.Slot == Current:
			b.Slot, b.Declared, b.Until = Previous, false, time.Time{}
			b.Deadline = now.Add(max(w.Overlap, 0))
		case b.Declared && b.Slot == Previous:
			ending.add(b.ID)
			continue
		case b.Declared:
			continue
		}
		if !b.Live(now) {
			ending.add(b.ID)
			continue
		}
		n.Entries = append(n.Entries, b)
	}
	n.settle(ending.list)
	return n
}

// Overlaps reports whether there is a superseded credential to retire.
func (l *Ledger[V]) Overlaps() bool {
	return l != nil && slices.ContainsFunc(l.Entries, func(e Entry[V]) bool { return e.Slot == Previous })
}

// Revoke returns the ledger that follows l when the credentials ids are
// refused from now on. Deadlines do not move. Advance replaces the revoked
// ones with those that it is given.
func (l *Ledger[V]) Revoke(ids ...ID) *Ledger[V] {
	if l == nil {
		l = &Ledger[V]{}
	}
	n := &Ledger[V]{Number: l.Number + 1, revoked: make(map[ID]struct{}, len(l.revoked)+len(ids))}
	for id := range l.revoked {
		n.revoked[id] = struct{}{}
	}
	for _, id := range ids {
		n.revoked[id] = struct{}{}
	}
	for _, e := range l.Entries {
		if !n.Revoked(e.ID) {
			n.Entries = append(n.Entries, e)
		}
	}
	n.settle(l.ended)
	return n
}

// Retire returns the ledger that follows l when every superseded credential is
// refused from now on. One that the source still declares previous stays
// refused until the source declares it in another slot.
func (l *Ledger[V]) Retire() *Ledger[V] {
	if l == nil {
		l = &Ledger[V]{}
	}
	n := &Ledger[V]{Number: l.Number + 1, revoked: l.revoked}
	ending := newEnding(l)
	ending.list = slices.Clone(ending.list)
	for _, e := range l.Entries {
		if e.Slot != Previous {
			n.Entries = append(n.Entries, e)
			continue
		}
		ending.add(e.ID)
		ending.list[ending.at[e.ID]].retired = e.Declared
	}
	n.settle(ending.list)
	return n
}

// ending gathers the ends of a new ledger, beginning with those of the one
// before, whose array it never writes to.
type ending struct {
	list []end
	at   map[ID]int
}

func newEnding[V any](l *Ledger[V]) *ending {
	e := &ending{list: slices.Clip(l.ended), at: make(map[ID]int, len(l.ended))}
	for i, o := range l.ended {
		e.at[o.id] = i
	}
	return e
}

func (e *ending) add(id ID) {
	if _, ok := e.at[id]; !ok {
		e.at[id] = len(e.list)
		e.list = append(e.list, end{id: id})
	}
}

// retired reports whether the credential id was retired while declared.
func (e *ending) retired(id ID) bool {
	i, ok := e.at[id]
	return ok && e.list[i].retired
}

// settle sorts the entries and takes over of ending what is not accepted, or
// revoked anyway. A retired one outlives its revocation.
func (l *Ledger[V]) settle(ending []end) {
	slices.SortStableFunc(l.Entries, func(a, b Entry[V]) int {
		if a.Slot != b.Slot || a.Slot != Previous {
			return cmp.Compare(a.Slot, b.Slot)
		}
		switch za, zb := a.Deadline.IsZero(), b.Deadline.IsZero(); {
		case za && zb:
			return 0
		case za:
			return -1
		case zb:
			return 1
		}
		return b.Deadline.Compare(a.Deadline)
	})
	if len(ending) == 0 {
		return
	}
	accepted := make(map[ID]struct{}, len(l.Entries))
	for i := range l.Entries {
		accepted[l.Entries[i].ID] = struct{}{}
	}
	kept := make([]end, 0, len(ending))
	for _, e := range ending {
		if _, ok := accepted[e.id]; !ok && (e.retired || !l.Revoked(e.id)) {
			kept = append(kept, e)
		}
	}
	// Forget the oldest first, and never one that Retire holds back.
	over := len(kept) - maxEnded
	l.ended = slices.DeleteFunc(kept, func(e end) bool {
		over--
		return over >= 0 && !e.retired
	})
}

// strongest returns decls with each credential once, in its strongest slot,
// and with one current at most. The order is that of first mention.
func strongest[V any](decls []Decl[V]) []Decl[V] {
	out := make([]Decl[V], 0, len(decls))
	at := make(map[ID]int, len(decls))
	current := -1
	for _, d := range decls {
		if d.Slot == 0 || d.Slot == Current && current >= 0 && out[current].ID != d.ID {
			d.Slot = Listed
		}
		i, seen := at[d.ID]
		if !seen {
			i = len(out)
			at[d.ID] = i
			out = append(out, d)
		} else if stronger(d, out[i]) {
			out[i] = d
		}
		if out[i].Slot == Current {
			current = i
		}
	}
	return out
}

// stronger reports whether a declaration a of a credential beats b. Of two
// deadlines the earlier counts, since a token must never outlive one that
// somebody wrote down.
func stronger[V any](a, b Decl[V]) bool {
	if a.Slot != b.Slot {
		return a.Slot < b.Slot
	}
	return a.Slot == Previous && !a.Until.IsZero() && (b.Until.IsZero() || a.Until.Before(b.Until))
}
