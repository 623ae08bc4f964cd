package rotation

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"
)

// model is the table of the rules, one credential at a time and written
// without regard to cost, so that the ledger has something to disagree with.
type model struct {
	creds   map[ID]cred
	revoked map[ID]bool
	retired map[ID]bool // by Retire, while it was declared previous
}

type cred struct {
	slot     Slot
	declared bool
	deadline time.Time
}

func newModel() *model {
	return &model{creds: map[ID]cred{}, revoked: map[ID]bool{}, retired: map[ID]bool{}}
}

func (m *model) advance(pool []ID, decls []Decl[string], revoked []ID, now time.Time, overlap time.Duration) {
	m.revoked = map[ID]bool{}
	for _, id := range revoked {
		m.revoked[id] = true
	}
	next := map[ID]cred{}
	for _, id := range pool {
		was, had := m.creds[id]
		slot, until := declaredAs(decls, id)
		switch {
		case m.revoked[id]:
			// dropped
		case slot == Current, slot == Next, slot == Listed:
			next[id] = cred{slot: slot, declared: true}
			delete(m.retired, id)
		case slot == Previous && m.retired[id]:
			// stays ended
		case slot == Previous:
			if until.IsZero() || until.After(now) {
				next[id] = cred{slot: Previous, declared: true, deadline: until}
			}
		case had && was.slot == Current:
			if overlap > 0 {
				next[id] = cred{slot: Previous, deadline: now.Add(overlap)}
			}
		case had && !was.declared && was.deadline.After(now):
			next[id] = was
		}
	}
	m.creds = next
}

// declaredAs returns the slot in which decls declare id, by the precedence
// current > next > previous > listed, and the deadline that holds.
func declaredAs(decls []Decl[string], id ID) (slot Slot, until time.Time) {
	var first *Decl[string]
	for i, d := range decls {
		if d.Slot == Current {
			first = &decls[i]
			break
		}
	}
	in := map[Slot]bool{}
	for _, d := range decls {
		if d.ID != id {
			continue
		}
		s := d.Slot
		if s == Current && first.ID != id {
			s = Listed
		}
		in[s] = true
		if s == Previous && !d.Until.IsZero() && (until.IsZero() || d.Until.Before(until)) {
			until = d.Until
		}
	}
	for _, s := range []Slot{Current, Next, Previous, Listed} {
		if in[s] {
			if s != Previous {
				until = time.Time{}
			}
			return s, until
		}
	}
	return 0, time.Time{}
}

func (m *model) retire() {
	for id, c := range m.creds {
		if c.slot == Previous {
			if c.declared {
				m.retired[id] = true
			}
			delete(m.creds, id)
		}
	}
}

func (m *model) revoke(id ID) {
	m.revoked[id] = true
	delete(m.creds, id)
}

// slot returns where the model accepts id at now; 0 means nowhere.
func (m *model) slot(id ID, now time.Time) Slot {
	c, ok := m.creds[id]
	if !ok || !c.deadline.IsZero() && !c.deadline.After(now) {
		return 0
	}
	return c.slot
}

func slotOf(l *Ledger[string], id ID, now time.Time) Slot {
	for i := range l.Entries {
		if e := &l.Entries[i]; e.ID == id && e.Live(now) {
			return e.Slot
		}
	}
	return 0
}

// TestP2_LedgerAgreesWithModel drives the ledger through random histories of
// everything that can befall a credential and asks after each step, and around
// each deadline to the nanosecond, who is accepted in which slot.
func TestP2_LedgerAgreesWithModel(t *testing.T) {
	t.Parallel()
	seeds, steps := 400, 120
	if testing.Short() {
		seeds = 50
	}
	for seed := range seeds {
		if err := history(uint64(seed), steps); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
	}
}

func history(seed uint64, steps int) error {
	r := rand.New(rand.NewPCG(seed, 1))
	pool := make([]ID, 6)
	for i := range pool {
		pool[i][0] = byte(i + 1)
	}
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	window := Window{Overlap: time.Duration(r.IntN(4)) * 10 * time.Second}
	m := newModel()
	var l *Ledger[string]
	for step := range steps {
		now = later(r, l, now)
		var did string
		switch k := r.IntN(20); {
		case k == 0 && l != nil:
			did = "retire"
			l = l.Retire()
			m.retire()
		case k == 1 && l != nil:
			id := pool[r.IntN(len(pool))]
			did = "revoke"
			l = l.Revoke(id)
			m.revoke(id)
		default:
			decls, revoked := content(r, pool, now)
			did = fmt.Sprintf("advance %v revoked %v", decls, len(revoked))
			l = Advance(l, decls, revoked, now, window)
			m.advance(pool, decls, revoked, now, window.Overlap)
		}
		if err := agree(l, m, pool, now); err != nil {
			return fmt.Errorf("step %d, %s: %w", step, did, err)
		}
	}
	return nil
}

// later moves the clock: a little, a lot, or exactly to a deadline.
func later(r *rand.Rand, l *Ledger[string], now time.Time) time.Time {
	if l != nil && r.IntN(3) == 0 {
		for i := range l.Entries {
			if d := l.Entries[i].Deadline; d.After(now) {
				return d.Add(time.Duration(r.IntN(3) - 1))
			}
		}
	}
	return now.Add(time.Duration(r.IntN(15)) * time.Second)
}

// content makes what a source may declare, the odd duplicate included.
func content(r *rand.Rand, pool []ID, now time.Time) (decls []Decl[string], revoked []ID) {
	for range 1 + r.IntN(5) {
		d := Decl[string]{ID: pool[r.IntN(len(pool))], Slot: Slots[r.IntN(len(Slots))]}
		if d.Slot == Previous && r.IntN(2) == 0 {
			d.Until = now.Add(time.Duration(r.IntN(40)-5) * time.Second)
		}
		decls = append(decls, d)
	}
	if r.IntN(4) == 0 {
		revoked = append(revoked, pool[r.IntN(len(pool))])
	}
	return decls, revoked
}

func agree(l *Ledger[string], m *model, pool []ID, now time.Time) error {
	moments := []time.Time{now}
	for i := range l.Entries {
		if d := l.Entries[i].Deadline; d.After(now) {
			moments = append(moments, d.Add(-1), d, d.Add(1))
		}
	}
	for _, at := range moments {
		for _, id := range pool {
			if got, want := slotOf(l, id, at), m.slot(id, at); got != want {
				return fmt.Errorf("credential %d at %s: slot %q, the model says %q", id[0], at.Format(time.RFC3339Nano), got, want)
			}
		}
	}
	for _, id := range pool {
		if l.Revoked(id) != m.revoked[id] {
			return fmt.Errorf("credential %d: revoked %t, the model says %t", id[0], l.Revoked(id), m.revoked[id])
		}
		if l.Ended(id) && m.slot(id, now) != 0 {
			return fmt.Errorf("credential %d both accepted and ended", id[0])
		}
	}
	return nil
}
