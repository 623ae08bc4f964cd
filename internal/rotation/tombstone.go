package rotation

import (
	"cmp"
	"maps"
	"slices"
	"time"
)

// A tombstone marks a superseded credential that is no longer accepted. The tombstone
// tells a use of the credential from a guess, and keeps the credential from coming back.
type tombstone struct {
	id ID
	// retired bars the credential while the source still declares it previous.
	retired bool
	// until is the declared deadline that has passed. It bars the credential while the
	// source declares this deadline or an earlier one. It is zero if the credential had
	// no declared deadline.
	until time.Time
	// mentioned reports whether the source still mentions the credential. The ledger keeps
	// such a tombstone.
	mentioned bool
}

// holds reports whether the tombstone bars its credential. A tombstone that does not hold
// only gives the reason for a refusal.
func (t *tombstone) holds() bool { return t.retired || !t.until.IsZero() }

// maxEnded bounds the number of tombstones that the source does not mention.
const maxEnded = 256

// A tombstones holds at most one tombstone for each credential.
type tombstones struct {
	list []tombstone // oldest first
	at   map[ID]int  // index in list
}

func (g *tombstones) clone() *tombstones {
	c := &tombstones{list: slices.Clone(g.list), at: make(map[ID]int, len(g.at))}
	maps.Copy(c.at, g.at)
	return c
}

func (g *tombstones) has(id ID) bool {
	_, ok := g.at[id]
	return ok
}

// add returns the tombstone of the credential id and creates it if necessary. The pointer
// is valid until the next call of add.
func (g *tombstones) add(id ID) *tombstone {
	if !g.has(id) {
		g.at[id] = len(g.list)
		g.list = append(g.list, tombstone{id: id})
	}
	return &g.list[g.at[id]]
}

// passed records that the declared deadline until of the credential id has passed.
func (g *tombstones) passed(id ID, until time.Time) *tombstone {
	t := g.add(id)
	if until.After(t.until) {
		t.until = until
	}
	return t
}

// bars reports whether a tombstone bars the credential id, which the source declares
// previous with the deadline until. If so, the source mentions the credential, and the
// tombstone stays.
func (g *tombstones) bars(id ID, until time.Time) bool {
	if !g.has(id) {
		return false
	}
	t := g.add(id)
	bars := t.retired || !until.IsZero() && !until.After(t.until)
	t.mentioned = t.mentioned || bars
	return bars
}

// settle completes a ledger: it sorts the entries, links each entry to the windows that
// its use opens, and stores the tombstones. settle takes ownership of tombs. It drops the
// tombstones of accepted credentials, and those of revoked credentials unless they hold,
// because a tombstone that holds must outlive the revocation.
func (l *Ledger[V]) settle(tombs *tombstones) {
	slices.SortStableFunc(l.Entries, func(a, b Entry[V]) int {
		switch {
		case a.Slot != b.Slot:
			return cmp.Compare(a.Slot, b.Slot)
		case a.Slot == Current:
			return cmp.Compare(a.Client, b.Client)
		case a.Slot != Previous:
			return 0
		}
		return b.window.latestEnd().Compare(a.window.latestEnd())
	})
	l.linkActivations()
	if len(tombs.list) == 0 {
		return
	}
	accepted := make(map[ID]bool, len(l.Entries))
	for i := range l.Entries {
		accepted[l.Entries[i].ID] = true
	}
	kept := slices.DeleteFunc(tombs.list, func(t tombstone) bool {
		return accepted[t.id] || !t.holds() && l.Revoked(t.id)
	})
	// Drop the oldest tombstones first, but never one that the source mentions.
	surplus := len(kept) - maxEnded
	kept = slices.DeleteFunc(kept, func(t tombstone) bool {
		surplus--
		return surplus >= 0 && !t.mentioned
	})
	l.ended = tombstones{list: kept, at: make(map[ID]int, len(kept))}
	for i := range kept {
		l.ended.at[kept[i].id] = i
	}
}
