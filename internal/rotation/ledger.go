package rotation

import (
	"maps"
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

	// RevokedDeclared are the credentials that the source declares without their
	// revocation, though they are revoked. They are refused.
	RevokedDeclared []Decl[V]

	revoked map[ID]struct{}
	names   map[ID][]ID     // of each revoked credential that has any: all that it has had since it was revoked
	lifted  map[ID]struct{} // what the last content unrevoked: it lifts no revocation that comes later
	ended   []tombstone     // oldest first
	endedAt map[ID]int      // where in ended
	uses    map[ID]*Use     // of declared credentials, from Restore to the next Advance
}

// Current returns the entry in slot current. There is none where the source
// revoked it.
func (l *Ledger[V]) Current() (*Entry[V], bool) {
	if l == nil || len(l.Entries) == 0 || l.Entries[0].Slot != Current {
		return nil, false
	}
	return &l.Entries[0], true
}

// Revoked reports whether id is revoked: itself, or as a credential one of whose
// names is.
func (l *Ledger[V]) Revoked(id ID) bool {
	if l == nil {
		return false
	}
	return l.HasRevocation(id) || l.anyRevoked(l.names[id])
}

// HasRevocation reports whether id itself was revoked, as opposed to a name of it.
func (l *Ledger[V]) HasRevocation(id ID) bool {
	if l == nil {
		return false
	}
	_, ok := l.revoked[id]
	return ok
}

func (l *Ledger[V]) anyRevoked(names []ID) bool {
	for _, name := range names {
		if _, ok := l.revoked[name]; ok {
			return true
		}
	}
	return false
}

// refuses reports whether the credential is revoked, and if so notes its names, so
// that it does not come back under another one.
func (l *Ledger[V]) refuses(d *Decl[V]) bool {
	if !l.Revoked(d.ID) && !l.anyRevoked(d.Names) {
		return false
	}
	l.noteNames(d.ID, d.Names)
	return true
}

// noteNames adds to the names of the revoked credential id.
func (l *Ledger[V]) noteNames(id ID, names []ID) {
	for _, name := range names {
		if slices.Contains(l.names[id], name) {
			continue
		}
		if l.names == nil {
			l.names = make(map[ID][]ID)
		}
		l.names[id] = append(slices.Clip(l.names[id]), name)
	}
}

// Ended reports whether the credential id was superseded and is accepted no
// more. The last 256 are known.
func (l *Ledger[V]) Ended(id ID) bool {
	if l == nil {
		return false
	}
	_, ok := l.endedAt[id]
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
	for id := range l.names {
		if _, twice := l.revoked[id]; !twice {
			f(id, true)
		}
	}
}

// Advance returns the ledger that follows prev, which may be nil, when the source
// says c at now. It changes neither prev nor c.
//
// What becomes of each credential:
//
//   - revoked, now or at any time before: refused, also if c declares it;
//     Unrevoked lifts that, once for as long as it stands there, so that it does
//     not lift a revocation that somebody made by hand since;
//   - declared current, next or listed: accepted, without deadline, whatever it
//     was before;
//   - declared previous: accepted until exactly its Until, or while declared
//     where it has none; that beats a deadline remembered for it, both ways.
//     An Until that has passed once has passed, even if the clock is set back;
//   - not declared, and retired: refused as one whose deadline has passed, for as
//     long as nothing declares it;
//   - absent, and current before: remembered as previous for the window w;
//   - absent, and remembered: keeps its window;
//   - absent, and anything else before: dropped.
//
// A credential that is declared several times counts once, in the strongest
// slot: current, next, previous, listed. Of several that are declared current
// the first is; the others are listed.
func Advance[V any](prev *Ledger[V], c Content[V], now time.Time, w Window) *Ledger[V] {
	if prev == nil {
		prev = &Ledger[V]{}
	}
	n := &Ledger[V]{Number: prev.Number + 1}
	revokedNow := setOf(c.Revoked)
	n.revoke(prev, revokedNow, c.Unrevoked)
	before := make(map[ID]*Entry[V], len(prev.Entries))
	for i := range prev.Entries {
		b := &prev.Entries[i]
		before[b.ID] = b
		n.refuses(&b.Decl) // what was revoked may have another name in c
	}

	tombs := newTombstones(prev.ended, prev.endedAt)
	tombs.sourceRead()
	declared := strongest(c.Decls)
	named := make(map[ID]struct{}, len(declared)+len(c.Retired))
	for _, d := range declared {
		named[d.ID] = struct{}{}
		e := Entry[V]{Decl: d, Declared: true}
		b := before[d.ID]
		refused := n.refuses(&d)
		if d.Slot == Previous {
			if tombs.bars(d.ID, d.Until) {
				continue
			}
			e.window = declaredAgain(b, d.Until, now)
			if !e.Live(now) {
				tombs.passed(d.ID, d.Until).named = true
				continue
			}
		}
		if refused {
			if !n.revokedBy(revokedNow, d.ID) {
				n.RevokedDeclared = append(n.RevokedDeclared, d)
			}
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
	for _, id := range c.Retired {
		if _, ok := named[id]; !ok {
			named[id] = struct{}{}
			tombs.add(id).named = true
		}
	}
	for _, b := range prev.Entries {
		if _, ok := named[b.ID]; ok {
			continue
		}
		if b.Slot == Previous && b.Declared && !b.Live(now) {
			// Were it declared again, and the clock set back, it would come back.
			tombs.passed(b.ID, b.Until)
			continue
		}
		if n.Revoked(b.ID) {
			continue
		}
		switch {
		case b.Slot == Current:
			b.Slot, b.Declared, b.Until = Previous, false, time.Time{}
			b.window = w.lease(now, n.Number)
		case b.Declared && b.Slot == Previous:
			tombs.add(b.ID)
			continue
		case b.Declared:
			continue
		}
		if !b.Live(now) {
			tombs.add(b.ID)
			continue
		}
		n.Entries = append(n.Entries, b)
	}
	n.settle(tombs.list)
	return n
}

// revoke takes over what prev has revoked, and what the source revokes and
// unrevokes now.
func (l *Ledger[V]) revoke(prev *Ledger[V], revoked map[ID]struct{}, unrevoked []ID) {
	l.revoked = make(map[ID]struct{}, len(prev.revoked)+len(revoked))
	maps.Copy(l.revoked, prev.revoked)
	l.lifted = make(map[ID]struct{}, len(unrevoked))
	for _, id := range unrevoked {
		if _, both := revoked[id]; both {
			continue
		}
		l.lifted[id] = struct{}{}
		if _, before := prev.lifted[id]; !before {
			delete(l.revoked, id)
		}
	}
	maps.Copy(l.revoked, revoked)
	l.keepNames(prev)
}

// keepNames takes over the names of the credentials that are revoked still.
func (l *Ledger[V]) keepNames(prev *Ledger[V]) {
	l.names = maps.Clone(prev.names)
	maps.DeleteFunc(l.names, func(id ID, _ []ID) bool { return !l.Revoked(id) })
}

// revokedBy reports whether the credential id or one of its names is among revoked.
func (l *Ledger[V]) revokedBy(revoked map[ID]struct{}, id ID) bool {
	among := func(id ID) bool { _, ok := revoked[id]; return ok }
	return among(id) || slices.ContainsFunc(l.names[id], among)
}

// declaredAgain returns the window of a credential that is declared previous
// until then. Where b, what it was before, was declared the same, it is the same
// window: reading it again measures nothing anew.
func declaredAgain[V any](b *Entry[V], until, now time.Time) *window {
	switch {
	case until.IsZero():
		return nil
	case b != nil && b.Declared && b.Slot == Previous && b.window != nil && b.window.until.Equal(until):
		return b.window
	default:
		return declaredWindow(until, now)
	}
}

// Overlaps reports whether there is a superseded credential to retire.
func (l *Ledger[V]) Overlaps() bool {
	return l != nil && slices.ContainsFunc(l.Entries, func(e Entry[V]) bool { return e.Slot == Previous })
}

// Revoke returns the ledger that follows l when ids are refused from now on,
// whatever the source says, until they are unrevoked. Deadlines do not move.
func (l *Ledger[V]) Revoke(ids ...ID) *Ledger[V] { return l.revokeNamed(ids, nil) }

// revokeNamed revokes ids, and adds to the names of revoked credentials.
func (l *Ledger[V]) revokeNamed(ids []ID, names map[ID][]ID) *Ledger[V] {
	if l == nil {
		l = &Ledger[V]{}
	}
	n := l.next()
	n.revoked = make(map[ID]struct{}, len(l.revoked)+len(ids))
	maps.Copy(n.revoked, l.revoked)
	for _, id := range ids {
		n.revoked[id] = struct{}{}
	}
	for id, more := range names {
		n.noteNames(id, more)
	}
	n.keepNames(n)
	tombs := newTombstones(l.ended, l.endedAt)
	for _, e := range l.Entries {
		switch {
		case !n.refuses(&e.Decl):
			n.Entries = append(n.Entries, e)
			continue
		case e.Declared && e.window.ended():
			tombs.passed(e.ID, e.Until).named = true
		}
		if e.Declared {
			n.RevokedDeclared = append(slices.Clip(n.RevokedDeclared), e.Decl)
		}
	}
	n.settle(tombs.list)
	return n
}

// Reject returns the ledger that follows l when the source's content is bad, and
// has these revocations in it. They hold, and nothing else of it does.
func (l *Ledger[V]) Reject(revoked []ID) *Ledger[V] {
	n := l.Revoke(revoked...)
	n.lifted = maps.Clone(n.lifted)
	for _, id := range revoked { // so that the source can lift it again
		delete(n.lifted, id)
	}
	return n
}

// Unrevoke returns the ledger that follows l when ids are no longer revoked. What
// the source declares of them is accepted from the next Advance on.
func (l *Ledger[V]) Unrevoke(ids ...ID) *Ledger[V] {
	if l == nil {
		l = &Ledger[V]{}
	}
	n := l.next()
	n.Entries, n.revoked = l.Entries, maps.Clone(l.revoked)
	for _, id := range ids {
		delete(n.revoked, id)
	}
	n.keepNames(l)
	n.ended, n.endedAt = l.ended, l.endedAt
	return n
}

// Adopt returns the ledger that follows l when another process with the same source
// left m: what m revokes and retires is refused from now on. That is not so of a
// revocation that the source's last content lifted here, where m was left before it
// was read there, nor of one of which lifted says that it was lifted by hand. Where
// m says nothing new, Adopt returns l.
func (l *Ledger[V]) Adopt(m Snapshot[V], lifted func(ID) bool) *Ledger[V] {
	was := l
	if l == nil {
		l = &Ledger[V]{}
	}
	revoked := slices.DeleteFunc(slices.Clone(m.Revoked), func(id ID) bool {
		_, here := l.lifted[id]
		return l.HasRevocation(id) || lifted(id) || here && !slices.Contains(m.Unrevoked, id)
	})
	retired := slices.DeleteFunc(slices.Clone(m.Retired), func(id ID) bool {
		i, ok := l.endedAt[id]
		return ok && l.ended[i].retired
	})
	n := l.revokeNamed(revoked, m.Names)
	news := len(revoked) > 0
	for id, names := range n.names {
		news = news || len(names) > len(l.names[id])
	}
	switch {
	case len(retired) > 0:
		return n.RetireIDs(retired...)
	case news:
		return n
	default:
		return was
	}
}

// next returns a ledger that follows l by a change that is not the source's, with
// all of l but for its entries, and what is ended.
func (l *Ledger[V]) next() *Ledger[V] {
	return &Ledger[V]{
		Number: l.Number + 1, RevokedDeclared: l.RevokedDeclared,
		revoked: l.revoked, names: maps.Clone(l.names), lifted: l.lifted, uses: l.uses,
	}
}

// Retire returns the ledger that follows l when every superseded credential is
// refused from now on. One that the source still declares previous stays
// refused until the source declares it in another slot.
func (l *Ledger[V]) Retire() *Ledger[V] {
	return l.retire(func(ID) bool { return true }, nil)
}

// RetireIDs returns the ledger that follows l when the superseded credentials among
// ids are refused from now on, as if they had been retired while their source
// declared them.
func (l *Ledger[V]) RetireIDs(ids ...ID) *Ledger[V] {
	return l.retire(func(id ID) bool { return slices.Contains(ids, id) }, ids)
}

// retire ends the superseded credentials that ends names, and holds back those of
// them that are declared, and others.
func (l *Ledger[V]) retire(ends func(ID) bool, others []ID) *Ledger[V] {
	if l == nil {
		l = &Ledger[V]{}
	}
	n := l.next()
	tombs := newTombstones(l.ended, l.endedAt)
	for _, e := range l.Entries {
		if e.Slot != Previous || !ends(e.ID) {
			n.Entries = append(n.Entries, e)
			continue
		}
		o := tombs.add(e.ID)
		o.retired, o.named = e.Declared, e.Declared
	}
	for _, id := range others {
		tombs.add(id).retired = true
	}
	n.settle(tombs.list)
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
