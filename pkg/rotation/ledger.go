package rotation

import (
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
	ended   []end       // oldest first
	endedAt endIndex    // where in ended
	uses    map[ID]*Use // of declared credentials, from Restore to the next Advance
}

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
	if l == nil {
		return false
	}
	_, ok := l.endedAt.find(l.ended, id)
	return ok
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
//     where it has none; that beats a deadline remembered for it, both ways.
//     An Until that has passed once has passed, even if the clock is set back;
//   - absent, and current before: remembered as previous for the window w;
//   - absent, and remembered: keeps its window;
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

	ending := newEnding(prev.ended, prev.endedAt)
	declared := strongest(decls)
	named := make(map[ID]struct{}, len(declared))
	for _, d := range declared {
		named[d.ID] = struct{}{}
		e := Entry[V]{Decl: d, Declared: true}
		b := before[d.ID]
		if d.Slot == Previous {
			if ending.bars(d.ID, d.Until) {
				continue
			}
			e.lease = declaredAgain(b, d.Until, now)
			if !e.Live(now) {
				ending.passed(d.ID, d.Until).named = true
				continue
			}
		}
		if n.Revoked(d.ID) {
			continue
		}
		switch use := prev.uses[d.ID]; {
		case b != nil:
			e.Use = b.Use
		case use != nil:
			e.Use = use
		default:
			e.Use = new(Use)
		}
		n.Entries = append(n.Entries, e)
	}
	for _, b := range prev.Entries {
		if _, ok := named[b.ID]; ok {
			continue
		}
		if b.Slot == Previous && b.Declared && !b.Live(now) {
			// Were it declared again, and the clock set back, it would come back.
			ending.passed(b.ID, b.Until)
			continue
		}
		if n.Revoked(b.ID) {
			continue
		}
		switch {
		case b.Slot == Current:
			b.Slot, b.Declared, b.Until = Previous, false, time.Time{}
			b.lease = w.lease(now, n.Number)
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

// declaredAgain returns the lease of a credential that is declared previous
// until then. Where b, what it was before, was declared the same, it is the same
// lease: reading it again measures nothing anew.
func declaredAgain[V any](b *Entry[V], until, now time.Time) *lease {
	switch {
	case until.IsZero():
		return nil
	case b != nil && b.Declared && b.Slot == Previous && b.lease != nil && b.lease.until.Equal(until):
		return b.lease
	default:
		return declaredLease(until, now)
	}
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
	n := &Ledger[V]{Number: l.Number + 1, revoked: make(map[ID]struct{}, len(l.revoked)+len(ids)), uses: l.uses}
	for id := range l.revoked {
		n.revoked[id] = struct{}{}
	}
	for _, id := range ids {
		n.revoked[id] = struct{}{}
	}
	ending := newEnding(l.ended, l.endedAt)
	for i := range ending.list { // the source has not been read again
		ending.list[i].named = l.ended[i].named
	}
	for _, e := range l.Entries {
		switch {
		case !n.Revoked(e.ID):
			n.Entries = append(n.Entries, e)
		case e.Declared && e.lease.ended():
			ending.passed(e.ID, e.Until).named = true
		}
	}
	n.settle(ending.list)
	return n
}

// Retire returns the ledger that follows l when every superseded credential is
// refused from now on. One that the source still declares previous stays
// refused until the source declares it in another slot.
func (l *Ledger[V]) Retire() *Ledger[V] {
	if l == nil {
		l = &Ledger[V]{}
	}
	return l.hold(func(ID) bool { return true }, nil)
}

// Hold returns the ledger that follows l when the superseded credentials among
// ids are refused from now on, as if they had been retired while their source
// declared them.
func (l *Ledger[V]) Hold(ids ...ID) *Ledger[V] {
	if l == nil {
		l = &Ledger[V]{}
	}
	return l.hold(func(id ID) bool { return slices.Contains(ids, id) }, ids)
}

// hold ends the superseded credentials that ends says, and holds back those of
// them that are declared, and others.
func (l *Ledger[V]) hold(ends func(ID) bool, others []ID) *Ledger[V] {
	n := &Ledger[V]{Number: l.Number + 1, revoked: l.revoked, uses: l.uses}
	ending := newEnding(l.ended, l.endedAt)
	for i := range ending.list { // the source has not been read again
		ending.list[i].named = l.ended[i].named
	}
	for _, e := range l.Entries {
		if e.Slot != Previous || !ends(e.ID) {
			n.Entries = append(n.Entries, e)
			continue
		}
		o := ending.add(e.ID)
		o.retired, o.named = e.Declared, e.Declared
	}
	for _, id := range others {
		ending.add(id).retired = true
	}
	n.settle(ending.list)
	return n
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
