package rotation

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// model is a second implementation of the rules, one credential at a time and without
// regard to cost, to compare the ledger with.
type model struct {
	creds   map[ID]cred
	revoked map[ID]bool        // for good
	names   map[ID]map[ID]bool // of each credential: what it is called, and was since it was revoked
	lifted  map[ID]bool        // what the last content unrevoked
	retired map[ID]bool        // by Retire, while it was declared previous
	window  Window

	switches int
}

type cred struct {
	client   string
	slot     Slot
	declared bool
	deadline time.Time // where it slides, the latest that it can be
	order    int       // of one that is remembered: of the taking of its place
	slides   bool
	renewed  time.Time // zero while it waits for the first use of a successor
}

// end returns when the credential ends if it is not used again; zero means never.
func (c cred) end(overlap time.Duration) time.Time {
	if end := c.renewed.Add(overlap); c.slides && !c.renewed.IsZero() && end.Before(c.deadline) {
		return end
	}
	return c.deadline
}

func newModel(w Window) *model {
	return &model{window: w, creds: map[ID]cred{}, names: map[ID]map[ID]bool{}, revoked: map[ID]bool{}, lifted: map[ID]bool{}, retired: map[ID]bool{}}
}

// use presents id at now, and returns the slot in which it is accepted.
func (m *model) use(id ID, now time.Time) Slot {
	slot := m.slot(id, now)
	if slot == 0 {
		return 0
	}
	used := m.creds[id]
	for other, c := range m.creds {
		succeeds := used.client == c.client &&
			(used.slot == Current || used.slot == Previous && !used.declared && c.order < used.order)
		switch {
		case !c.slides:
			continue
		case c.renewed.IsZero() && other != id && succeeds:
			c.renewed = now
		case other == id && !c.renewed.IsZero() && !now.Before(c.renewed.Add(min(time.Second, m.window.Overlap/4))):
			c.renewed = now
		}
		m.creds[other] = c
	}
	return slot
}

// restart keeps only the state that a process saves.
func (m *model) restart(now time.Time) {
	for id, c := range m.creds {
		if c.slot != Current && (c.slot != Previous || c.declared) || m.slot(id, now) == 0 {
			delete(m.creds, id)
		}
	}
	m.forget()
}

// refused reports whether id is revoked, by its ID or by one of its names.
func (m *model) refused(id ID) bool {
	for name := range m.names[id] {
		if m.revoked[name] {
			return true
		}
	}
	return m.revoked[id]
}

// forget forgets the names of credentials that are neither accepted nor revoked.
func (m *model) forget() {
	for id := range m.names {
		if _, ok := m.creds[id]; !ok && !m.refused(id) {
			delete(m.names, id)
		}
	}
}

// call gives credentials the names that decls have for them. Earlier names still count
// for this content: its revocation of an earlier name revokes the credential.
func (m *model) call(decls []Decl[string]) {
	for _, d := range decls {
		fresh := map[ID]bool{}
		for _, name := range d.Names {
			fresh[name] = true
		}
		all := maps.Clone(fresh)
		maps.Copy(all, m.names[d.ID])
		if m.names[d.ID] = all; !m.refused(d.ID) {
			m.names[d.ID] = fresh
		}
	}
}

func (m *model) advance(pool []ID, c Content[string], now time.Time) {
	m.switches++
	lifted := map[ID]bool{}
	for _, id := range c.Unrevoked {
		if slices.Contains(c.Revoked, id) {
			continue
		}
		lifted[id] = true
		if !m.lifted[id] {
			delete(m.revoked, id)
		}
	}
	m.lifted = lifted
	for _, id := range c.Revoked {
		m.revoked[id] = true
	}
	m.forget()
	m.call(c.Decls)
	next := map[ID]cred{}
	for _, id := range pool {
		was, had := m.creds[id]
		slot, client, until := declaredAs(c.Decls, id)
		switch {
		case m.refused(id):
			// dropped
		case slot == Current, slot == Next, slot == Listed:
			next[id] = cred{client: client, slot: slot, declared: true}
			delete(m.retired, id)
		case slot == Previous && m.retired[id]:
			// stays ended
		case slot == Previous:
			if until.IsZero() || until.After(now) {
				next[id] = cred{client: client, slot: Previous, declared: true, deadline: until}
			}
		case slices.Contains(c.Retired, id):
			// gone
		case had && was.slot == Current:
			if w := m.window; w.Overlap > 0 {
				next[id] = cred{client: was.client, slot: Previous, order: m.switches, deadline: now.Add(max(w.Overlap, w.MaxOverlap)), slides: w.MaxOverlap > 0}
			}
		case had && !was.declared && was.end(m.window.Overlap).After(now):
			next[id] = was
		}
	}
	m.creds = next
	m.forget()
}

// declaredAs returns the slot in which decls declare id, by the precedence
// current > next > previous > listed, its client, and the deadline that holds.
func declaredAs(decls []Decl[string], id ID) (slot Slot, client string, until time.Time) {
	for _, d := range decls {
		if d.ID == id {
			client = d.Client
		}
	}
	var first *Decl[string] // current of that client
	for i, d := range decls {
		if d.Slot == Current && d.Client == client {
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
			return s, client, until
		}
	}
	return 0, "", time.Time{}
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
	m.forget()
}

func (m *model) revoke(id ID) {
	m.revoked[id] = true
	for other := range m.creds {
		if m.refused(other) {
			delete(m.creds, other)
		}
	}
}

// slot returns where the model accepts id at now; 0 means nowhere.
func (m *model) slot(id ID, now time.Time) Slot {
	c, ok := m.creds[id]
	if end := c.end(m.window.Overlap); !ok || !end.IsZero() && !end.After(now) {
		return 0
	}
	return c.slot
}

// present presents id to the ledger at now, as a verifier does.
func present(l *Ledger[string], id ID, now time.Time) Slot {
	for i := range l.Entries {
		if e := &l.Entries[i]; e.ID == id && e.Accept(now) {
			return e.Slot
		}
	}
	return 0
}

func slotOf(l *Ledger[string], id ID, now time.Time) Slot {
	for i := range l.Entries {
		if e := &l.Entries[i]; e.ID == id && e.Live(now) {
			return e.Slot
		}
	}
	return 0
}

// TestP2_LedgerAgreesWithModel drives the ledger through random histories of contents,
// revocations, uses and restarts. After each step, and one nanosecond before and after
// each deadline, it compares the slots of all credentials with the model.
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
	window := Window{Overlap: time.Duration(r.IntN(4)) * 10 * time.Second, MaxOverlap: time.Duration(r.IntN(3)) * 25 * time.Second}
	m := newModel(window)
	l := new(Ledger[string])
	for step := range steps {
		now = later(r, l, now)
		var did string
		switch k := r.IntN(40); {
		case k >= 20:
			id := pool[r.IntN(len(pool))]
			did = "use"
			if got, want := present(l, id, now), m.use(id, now); got != want {
				return fmt.Errorf("step %d: credential %d presented: slot %q, the model says %q", step, id[0], got, want)
			}
		case k == 3:
			id := revocable(r, pool)
			did = "unrevoke"
			l = l.Unrevoke(id)
			delete(m.revoked, id)
			m.forget()
		case k == 4:
			id := revocable(r, pool)
			did = "reject"
			l = l.Reject([]ID{id})
			m.revoke(id)
			delete(m.lifted, id)
		case k == 2:
			did = "restart"
			l = Restore[string](l.Snapshot(now, nil), now, window, nil)
			m.restart(now)
		case k == 0:
			did = "retire"
			l = l.Retire()
			m.retire()
		case k == 1:
			id := revocable(r, pool)
			did = "revoke"
			l = l.Revoke(id)
			m.revoke(id)
		default:
			c := content(r, pool, now)
			did = fmt.Sprintf("advance %v revoked %v", c.Decls, len(c.Revoked))
			l = Advance(l, c, now, window)
			m.advance(pool, c, now)
			if err := m.agreeOnDeclared(l, c); err != nil {
				return fmt.Errorf("step %d, %s: %w", step, did, err)
			}
		}
		if err := agree(l, m, pool, now); err != nil {
			return fmt.Errorf("step %d, %s: %w", step, did, err)
		}
	}
	return nil
}

// later moves the clock: a little, a lot, or exactly to a deadline.
func later(r *rand.Rand, l *Ledger[string], now time.Time) time.Time {
	if r.IntN(3) == 0 {
		for i := range l.Entries {
			if d := l.Entries[i].Deadline(now); d.After(now) {
				return d.Add(time.Duration(r.IntN(3) - 1))
			}
		}
	}
	return now.Add(time.Duration(r.IntN(15)) * time.Second)
}

// names are the names of the credentials in the model, which change.
var names = []ID{{97}, {98}, {99}}

// revocable returns a random credential or name to revoke, retire or unrevoke.
func revocable(r *rand.Rand, pool []ID) ID {
	if r.IntN(4) == 0 {
		return names[r.IntN(len(names))]
	}
	return pool[r.IntN(len(pool))]
}

// content returns random content, sometimes with duplicates.
func content(r *rand.Rand, pool []ID, now time.Time) (c Content[string]) {
	called := map[ID][]ID{}
	client := map[ID]string{} // a content never declares a credential for two clients
	for _, id := range pool {
		client[id] = []string{"", "", "a", "b"}[r.IntN(4)]
	}
	for _, id := range pool[:3] { // each is called the same wherever one content declares it
		if r.IntN(3) == 0 {
			continue
		}
		at := r.IntN(len(names))
		called[id] = names[at : at+1+r.IntN(len(names)-at)]
	}
	for range 1 + r.IntN(5) {
		d := Decl[string]{ID: pool[r.IntN(len(pool))], Slot: Slots[r.IntN(len(Slots))]}
		d.Names, d.Client = called[d.ID], client[d.ID]
		if d.Slot == Previous && r.IntN(2) == 0 {
			d.Until = now.Add(time.Duration(r.IntN(40)-5) * time.Second)
		}
		c.Decls = append(c.Decls, d)
	}
	if r.IntN(6) == 0 {
		c.Revoked = append(c.Revoked, revocable(r, pool))
	}
	if r.IntN(4) == 0 {
		c.Retired = append(c.Retired, pool[r.IntN(len(pool))])
	}
	for r.IntN(2) == 0 {
		c.Unrevoked = append(c.Unrevoked, revocable(r, pool))
	}
	return c
}

// agreeOnDeclared compares RevokedDeclared with the model, and checks that the ledger
// knows the credentials that c retires and does not declare as ended.
func (m *model) agreeOnDeclared(l *Ledger[string], c Content[string]) error {
	got := map[ID]bool{}
	for _, d := range l.RevokedDeclared {
		got[d.ID] = true
	}
	for _, d := range c.Decls {
		now := slices.ContainsFunc(c.Revoked, func(id ID) bool { return id == d.ID || m.names[d.ID][id] })
		if slot, _, _ := declaredAs(c.Decls, d.ID); slot == Previous {
			continue // its deadline may have passed
		}
		if want := m.refused(d.ID) && !now; got[d.ID] != want {
			return fmt.Errorf("credential %d in RevokedDeclared: %t, the model says %t", d.ID[0], got[d.ID], want)
		}
	}
	for _, id := range c.Retired {
		if slot, _, _ := declaredAs(c.Decls, id); slot == 0 && !m.refused(id) && !l.Ended(id) {
			return fmt.Errorf("credential %d is retired and has not ended", id[0])
		}
	}
	return nil
}

func agree(l *Ledger[string], m *model, pool []ID, now time.Time) error {
	moments := []time.Time{now}
	for i := range l.Entries {
		if d := l.Entries[i].Deadline(now); d.After(now) {
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
	current := map[string]bool{}
	for _, e := range l.Entries {
		if want := m.creds[e.ID].client; e.Live(now) && e.Client != want {
			return fmt.Errorf("credential %d belongs to client %q, the model says %q", e.ID[0], e.Client, want)
		}
		if e.Slot == Current && current[e.Client] {
			return fmt.Errorf("two current credentials of client %q", e.Client)
		}
		current[e.Client] = current[e.Client] || e.Slot == Current
	}
	for _, id := range pool {
		if l.Revoked(id) && !m.refused(id) || m.revoked[id] && !l.Revoked(id) {
			return fmt.Errorf("credential %d: revoked %t, the model says %t", id[0], l.Revoked(id), m.refused(id))
		}
		if l.Ended(id) && m.slot(id, now) != 0 {
			return fmt.Errorf("credential %d both accepted and ended", id[0])
		}
	}
	return nil
}
