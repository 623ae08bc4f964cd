package rotation

import "time"

// Merge returns the ledger that follows l when, at now, it learns what other
// knows. Both may be nil.
//
//   - What other revoked or retired is refused, as by Adopt: apart from a revocation
//     that l's source lifted and other's source did not lift yet.
//   - What l only remembers, and other saw end, is refused.
//   - A superseded credential that other remembers is accepted until its deadline
//     there. The two ledgers share its window and its uses.
//   - The current credential of other, where l's source does not declare it, is
//     superseded now, and gets the window w.
//
// What l refuses stays refused, and what l declares stays as declared, unless other
// revoked or retired it. Windows that l granted do not change.
func (l *Ledger[V]) Merge(other *Ledger[V], now time.Time, w Window) *Ledger[V] {
	if l == nil {
		l = &Ledger[V]{}
	}
	if other == nil {
		return l
	}
	l = l.Adopt(other.Snapshot(now), func(ID) bool { return false })
	n := l.next()
	tombs := newTombstones(l.ended, l.endedAt)
	for i := range other.ended {
		tombs.passed(other.ended[i].id, other.ended[i].until)
	}
	known := make(map[ID]struct{}, len(l.Entries))
	for _, e := range l.Entries {
		known[e.ID] = struct{}{}
		if e.Slot == Previous && (tombs.bars(e.ID, e.Until) || !e.Declared && other.Ended(e.ID)) {
			continue
		}
		n.Entries = append(n.Entries, e)
	}
	for _, e := range other.Entries {
		_, has := known[e.ID]
		_, ended := tombs.find(e.ID)
		if has || ended || n.refuses(&e.Decl) {
			continue
		}
		switch {
		case e.Slot == Current:
			e.Slot, e.Declared, e.Until = Previous, false, time.Time{}
			e.window = w.lease(now, n.Number)
		case e.Slot != Previous || e.Declared:
			continue
		}
		if e.Live(now) {
			n.Entries = append(n.Entries, e)
		}
	}
	n.settle(tombs.list)
	return n
}
