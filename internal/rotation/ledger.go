package rotation

import (
	"cmp"
	"maps"
	"slices"
	"time"
)

// A Ledger holds the credentials that are accepted at one moment. Apart from the uses and
// windows of its entries, a Ledger is immutable. It is safe for concurrent use. Callers
// must not modify its slices. The zero Ledger is empty.
type Ledger[V any] struct {
	// Number counts the changes: the first ledger has Number 1, and each change adds 1.
	Number uint64
	// Entries holds each credential once, sorted by slot: current (by client), next,
	// previous (no deadline first, then the latest deadline first), listed. An entry stays
	// in Entries after its deadline until the next change.
	Entries []Entry[V]

	// RevokedDeclared lists the revoked credentials that the source still declares
	// without listing their revocation. The ledger refuses them.
	RevokedDeclared []Decl[V]

	revoked map[ID]bool
	names   map[ID][]ID // all names that each revoked credential has had since its revocation
	// lifted holds the IDs that the last content unrevoked. They lift no later
	// revocation. The value reports whether there was a revocation to lift.
	lifted map[ID]bool
	ended  tombstones
	uses   map[ID]*Use // uses of declared credentials, set by Restore for the next Advance
}

// Currents returns the entries in slot current, at most one for each client, sorted by
// client. A client has none if, for example, the source revoked its current credential.
func (l *Ledger[V]) Currents() []Entry[V] {
	n := 0
	for n < len(l.Entries) && l.Entries[n].Slot == Current {
		n++
	}
	return l.Entries[:n:n]
}

// Revoked reports whether the credential id is revoked, by its ID or by one of its names.
func (l *Ledger[V]) Revoked(id ID) bool {
	return l.revoked[id] || slices.ContainsFunc(l.names[id], l.HasRevocation)
}

// HasRevocation reports whether id itself is revoked. It ignores the names of the
// credential.
func (l *Ledger[V]) HasRevocation(id ID) bool { return l.revoked[id] }

// refuses reports whether the credential is revoked. If so, refuses records the names of
// the credential, so that the credential does not return under another name.
func (l *Ledger[V]) refuses(d *Decl[V]) bool {
	if !l.Revoked(d.ID) && !slices.ContainsFunc(d.Names, l.HasRevocation) {
		return false
	}
	l.addNames(d.ID, d.Names)
	return true
}

// addNames adds names to the revoked credential id.
func (l *Ledger[V]) addNames(id ID, names []ID) {
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

// Ended reports whether the credential id was superseded and is no longer accepted. The
// ledger remembers at least the last 256 such credentials.
func (l *Ledger[V]) Ended(id ID) bool { return l.ended.has(id) }

// EachRefused calls f for every refused credential that the ledger knows. The argument
// revoked is true for a revoked credential, and false for an ended one. f may be called
// twice for a credential that is both.
func (l *Ledger[V]) EachRefused(f func(id ID, revoked bool)) {
	for _, e := range l.ended.list {
		f(e.id, false)
	}
	for id := range l.revoked {
		f(id, true)
	}
	for id := range l.names {
		if !l.revoked[id] {
			f(id, true)
		}
	}
}

// Advance returns the ledger that follows prev when the source declares c at now. The
// ledger prev may be nil. Advance modifies neither prev nor c.
//
// Advance decides for each credential:
//
//   - A credential that is revoked, now or earlier, is refused, even if c declares it.
//     Unrevoked lifts a revocation once, when the ID first appears there. So an ID that
//     stays in Unrevoked does not lift a later manual revocation.
//   - A credential that is declared current, next or listed is accepted without deadline,
//     whatever its slot was before.
//   - A credential that is declared previous is accepted until its Until, or while it is
//     declared if Until is zero. The declaration replaces a remembered deadline, whether
//     earlier or later. An Until that has passed stays passed, even if the clock is set
//     back.
//   - A credential that is retired and not declared is refused until the source declares
//     it.
//   - An absent credential that was current is remembered as previous for the window w.
//     A use of a later credential of the same client opens that window.
//   - An absent credential that was remembered keeps its window.
//   - Any other absent credential is dropped.
//
// If c declares a credential several times, the strongest slot counts: current, next,
// previous, listed. If c declares several credentials of one client current, the first one
// is current and the others are listed. A credential that moves from one client to another
// is superseded for neither.
func Advance[V any](prev *Ledger[V], c Content[V], now time.Time, w Window) *Ledger[V] {
	if prev == nil {
		prev = new(Ledger[V])
	}
	n := &Ledger[V]{Number: prev.Number + 1}
	revokedNow := withAll(nil, c.Revoked)
	n.revoke(prev, revokedNow, c.Unrevoked)
	before := make(map[ID]*Entry[V], len(prev.Entries))
	for i := range prev.Entries {
		b := &prev.Entries[i]
		before[b.ID] = b
		n.refuses(&b.Decl) // record its names: c may use other names
	}
	tombs := prev.ended.clone()
	for i := range tombs.list {
		tombs.list[i].mentioned = false
	}
	n.Entries = make([]Entry[V], 0, len(c.Decls))
	mentioned := make(map[ID]bool, len(c.Decls)+len(c.Retired))

	for _, d := range strongest(c.Decls) {
		mentioned[d.ID] = true
		b := before[d.ID]
		e := Entry[V]{Decl: d, Declared: true, Since: now, Use: prev.uses[d.ID]}
		if b != nil {
			e.Use = b.Use
			if b.Slot == d.Slot && b.Client == d.Client {
				e.Since = b.Since
			}
		}
		e.Use = cmp.Or(e.Use, new(Use))
		refused := n.refuses(&d)
		if refused && b != nil { // it has just been revoked by a new name
			n.addNames(d.ID, b.Names)
		}
		if d.Slot == Previous {
			if tombs.bars(d.ID, d.Until) {
				continue
			}
			e.window = declaredWindow(b, d.Until, now)
			if !e.Live(now) {
				tombs.passed(d.ID, d.Until).mentioned = true
				continue
			}
		}
		switch {
		case !refused:
			n.Entries = append(n.Entries, e)
		case !revokedNow[d.ID] && !slices.ContainsFunc(n.names[d.ID], func(name ID) bool { return revokedNow[name] }):
			n.RevokedDeclared = append(n.RevokedDeclared, d)
		}
	}
	for _, id := range c.Retired {
		if !mentioned[id] {
			mentioned[id] = true
			tombs.add(id).mentioned = true
		}
	}
	for _, b := range prev.Entries {
		if mentioned[b.ID] {
			continue
		}
		revoked := n.Revoked(b.ID)
		if b.Slot == Current && !revoked {
			b.supersede(w.grant(now, n.Number))
		}
		switch declaredPrevious := b.Declared && b.Slot == Previous; {
		case declaredPrevious && !b.Live(now):
			// Remember the deadline: the clock may be set back and the credential
			// declared again.
			tombs.passed(b.ID, b.Until)
		case revoked, b.Slot != Previous:
		case declaredPrevious, !b.Live(now):
			tombs.add(b.ID)
		default:
			n.Entries = append(n.Entries, b)
		}
	}
	n.settle(tombs)
	return n
}

// revoke copies the revocations of prev and applies the revocations and unrevocations of
// the source.
func (l *Ledger[V]) revoke(prev *Ledger[V], revoked map[ID]bool, unrevoked []ID) {
	l.revoked = withAll(prev.revoked, nil)
	l.lifted = make(map[ID]bool, len(unrevoked))
	for _, id := range unrevoked {
		if revoked[id] {
			continue
		}
		liftedOne, seen := prev.lifted[id]
		if !seen {
			liftedOne = l.revoked[id]
			delete(l.revoked, id)
		}
		l.lifted[id] = liftedOne
	}
	maps.Copy(l.revoked, revoked)
	l.keepNames(prev)
}

// withAll returns a copy of set that also contains ids.
func withAll(set map[ID]bool, ids []ID) map[ID]bool {
	all := make(map[ID]bool, len(set)+len(ids))
	maps.Copy(all, set)
	for _, id := range ids {
		all[id] = true
	}
	return all
}

// keepNames copies the names of the credentials that are still revoked.
func (l *Ledger[V]) keepNames(prev *Ledger[V]) {
	l.names = maps.Clone(prev.names)
	maps.DeleteFunc(l.names, func(id ID, _ []ID) bool { return !l.Revoked(id) })
}

// Overlaps reports whether the ledger holds a superseded credential, which Retire would
// end.
func (l *Ledger[V]) Overlaps() bool {
	return slices.ContainsFunc(l.Entries, func(e Entry[V]) bool { return e.Slot == Previous })
}

// strongest returns decls with each credential once, in its strongest slot, and with at
// most one current credential for each client. Of two deadlines the earlier one counts, so
// that a token never outlives a declared deadline. The result keeps the order of first
// mention.
func strongest[V any](decls []Decl[V]) []Decl[V] {
	out := make([]Decl[V], 0, len(decls))
	at := make(map[ID]int, len(decls))
	current := make(map[string]ID, len(decls))
	for _, d := range decls {
		if d.Slot == 0 {
			d.Slot = Listed
		}
		if id, taken := current[d.Client]; d.Slot == Current && taken && id != d.ID {
			d.Slot = Listed
		}
		i, seen := at[d.ID]
		if !seen {
			i = len(out)
			at[d.ID] = i
			out = append(out, d)
		}
		best := &out[i]
		earlier := !d.Until.IsZero() && (best.Until.IsZero() || d.Until.Before(best.Until))
		if d.Slot < best.Slot || d.Slot == Previous && best.Slot == Previous && earlier {
			*best = d
		}
		if best.Slot == Current {
			current[best.Client] = best.ID
		}
	}
	return out
}
