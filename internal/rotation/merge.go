package rotation

import "time"

// Merge returns the ledger that follows l when l takes over the knowledge of other at
// now. Both ledgers may be nil.
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
	if other == nil {
		return l.orEmpty()
	}
	l = l.orEmpty().Adopt(other.Snapshot(now, nil), func(ID) bool { return false })
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
