package rotation

import (
	"maps"
	"slices"
	"time"
)

// Revoke returns the ledger that follows l when ids are revoked. They stay refused until
// they are unrevoked, even if the source declares them. Deadlines do not move.
func (l *Ledger[V]) Revoke(ids ...ID) *Ledger[V] { return l.revokeNamed(ids, nil) }

// revokeNamed revokes ids and adds names to revoked credentials.
func (l *Ledger[V]) revokeNamed(ids []ID, names map[ID][]ID) *Ledger[V] {
	n := l.next()
	n.revoked = withAll(l.revoked, ids)
	for id, more := range names {
		n.addNames(id, more)
	}
	n.keepNames(n)
	tombs := l.ended.clone()
	for _, e := range l.Entries {
		switch {
		case !n.refuses(&e.Decl):
			n.Entries = append(n.Entries, e)
			continue
		case e.Declared && e.window.ended():
			tombs.passed(e.ID, e.Until).mentioned = true
		}
		if e.Declared {
			n.RevokedDeclared = append(slices.Clip(n.RevokedDeclared), e.Decl)
		}
	}
	n.settle(tombs)
	return n
}

// Reject returns the ledger that follows l when the source's content is invalid but lists
// the given revocations. The revocations hold; the rest of the content is ignored.
func (l *Ledger[V]) Reject(revoked []ID) *Ledger[V] {
	n := l.Revoke(revoked...)
	n.lifted = maps.Clone(n.lifted)
	for _, id := range revoked { // the source may lift the revocation again
		delete(n.lifted, id)
	}
	return n
}

// Unrevoke returns the ledger that follows l when the revocations of ids are lifted. The
// next Advance accepts these credentials if the source declares them.
func (l *Ledger[V]) Unrevoke(ids ...ID) *Ledger[V] {
	n := l.next()
	n.Entries, n.revoked = l.Entries, maps.Clone(l.revoked)
	for _, id := range ids {
		delete(n.revoked, id)
	}
	n.keepNames(l)
	n.ended = l.ended
	return n
}

// Adopt returns the ledger that follows l when another process with the same source left
// the snapshot m. The credentials that m revokes or retires are refused from now on.
// There are two exceptions. Adopt ignores a revocation that the last content of l's
// source lifted, if m does not record that content. Adopt also ignores a revocation for
// which lifted returns true, which means that a caller lifted it by hand. If m holds
// nothing new, Adopt returns l itself.
func (l *Ledger[V]) Adopt(m Snapshot, lifted func(ID) bool) *Ledger[V] {
	revoked := slices.DeleteFunc(slices.Clone(m.Revoked), func(id ID) bool {
		return l.HasRevocation(id) || lifted(id) || l.lifted[id] && !slices.Contains(m.Unrevoked, id)
	})
	retired := slices.DeleteFunc(slices.Clone(m.Retired), func(id ID) bool {
		i, ok := l.ended.at[id]
		return ok && l.ended.list[i].retired
	})
	n := l.revokeNamed(revoked, m.Names)
	changed := len(revoked) > 0
	for id, names := range n.names {
		changed = changed || len(names) > len(l.names[id])
	}
	switch {
	case len(retired) > 0:
		return n.retireIDs(retired...)
	case changed:
		return n
	default:
		return l
	}
}

// next returns a ledger for a change that the source did not make. The ledger has the
// state of l without its entries and tombstones.
func (l *Ledger[V]) next() *Ledger[V] {
	return &Ledger[V]{
		Number: l.Number + 1, RevokedDeclared: l.RevokedDeclared,
		revoked: l.revoked, names: maps.Clone(l.names), lifted: l.lifted, uses: l.uses,
	}
}

// Retire returns the ledger that follows l when every superseded credential is refused
// from now on. A retired credential that the source still declares previous stays refused
// until the source declares it in another slot.
func (l *Ledger[V]) Retire() *Ledger[V] {
	return l.retire(func(ID) bool { return true }, nil)
}

// retireIDs returns the ledger that follows l when the superseded credentials among ids
// are refused from now on, as if Retire had ended them while their source declared them.
func (l *Ledger[V]) retireIDs(ids ...ID) *Ledger[V] {
	return l.retire(func(id ID) bool { return slices.Contains(ids, id) }, ids)
}

// retire ends the superseded credentials for which ends returns true. It marks as retired
// those of them that the source declares, and others.
func (l *Ledger[V]) retire(ends func(ID) bool, others []ID) *Ledger[V] {
	n := l.next()
	tombs := l.ended.clone()
	for _, e := range l.Entries {
		if e.Slot != Previous || !ends(e.ID) {
			n.Entries = append(n.Entries, e)
			continue
		}
		o := tombs.add(e.ID)
		o.retired, o.mentioned = e.Declared, e.Declared
	}
	for _, id := range others {
		tombs.add(id).retired = true
	}
	n.settle(tombs)
	return n
}

// Merge returns the ledger that follows l when l takes over the knowledge of other at
// now.
//
//   - A credential that other revoked or retired is refused, as by Adopt, except if l's
//     source lifted the revocation and other's source has not lifted it yet.
//   - A credential that l only remembers, and that ended in other, is refused.
//   - A superseded credential that other remembers is accepted until its deadline in
//     other. The two ledgers share its window and its uses.
//   - The current credential of other is superseded at now and gets the window w, if l's
//     source does not declare it.
//
// A credential that l refuses stays refused. A credential that l declares keeps its
// declaration, unless other revoked or retired it. The windows of l do not change.
func (l *Ledger[V]) Merge(other *Ledger[V], now time.Time, w Window) *Ledger[V] {
	l = l.Adopt(other.Snapshot(now, nil), func(ID) bool { return false })
	n := l.next()
	tombs := l.ended.clone()
	for _, t := range other.ended.list {
		tombs.passed(t.id, t.until)
	}
	known := make(map[ID]bool, len(l.Entries))
	for _, e := range l.Entries {
		known[e.ID] = true
		if e.Slot == Previous && (tombs.bars(e.ID, e.Until) || !e.Declared && other.Ended(e.ID)) {
			continue
		}
		n.Entries = append(n.Entries, e)
	}
	for _, e := range other.Entries {
		if known[e.ID] || tombs.has(e.ID) || n.refuses(&e.Decl) {
			continue
		}
		switch {
		case e.Slot == Current:
			e.supersede(w.grant(now, n.Number))
		case e.Slot != Previous || e.Declared:
			continue
		}
		if e.Live(now) {
			n.Entries = append(n.Entries, e)
		}
	}
	n.settle(tombs)
	return n
}
