package rotation

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"
)

// TestP3_MergeRevokes: credentials that either ledger revoked are refused, by every name.
// A revocation that only the source of one ledger lifted stays lifted.
func TestP3_MergeRevokes(t *testing.T) {
	t.Parallel()
	w := Window{Overlap: time.Minute}
	named := func(b, name byte, s Slot) Decl[string] {
		return Decl[string]{ID: id(b), Names: []ID{id(name)}, Slot: s}
	}
	content := Content[string]{Decls: []Decl[string]{decl(1, Current), named(2, 12, Listed), decl(3, Listed), decl(4, Listed), decl(5, Listed)}}
	before := Advance(nil, content, start, w).Revoke(id(4), id(5))
	lifts := content
	lifts.Unrevoked = []ID{id(4), id(5)}
	l := Advance(before, lifts, start, w).Revoke(id(3))
	other := before.Revoke(id(12))
	m := l.Merge(other, start, w)
	for b, want := range map[byte]bool{1: false, 2: true, 3: true, 4: false, 5: false} {
		if got := m.Revoked(id(b)); got != want {
			t.Errorf("credential %d: revoked %t, want %t", b, got, want)
		}
	}
	// If the other ledger has read the lift, too, its revocation is later than the lift.
	m = l.Merge(Advance(other, lifts, start, w).Revoke(id(5)), start, w)
	if !m.Revoked(id(5)) || m.Revoked(id(4)) {
		t.Errorf("5 revoked later: %t; 4: %t", m.Revoked(id(5)), m.Revoked(id(4)))
	}
	if got := slotOf(Advance(m, lifts, start, w), id(5), start); got != 0 {
		t.Errorf("the same content lifts the later revocation: %s", got)
	}
	// A line of an earlier rotation does not lift a later manual revocation.
	stale := Advance(Advance(nil, lifts, start, w), lifts, start, w)
	if m := stale.Merge(Advance(nil, content, start, w).Revoke(id(5)), start, w); !m.Revoked(id(5)) {
		t.Error("a line that lifted nothing here lifts the other ledger's revocation")
	}
	// A credential that was revoked by a name stays revoked without the name.
	m = Advance(m.Merge(other, start, w), Content[string]{Decls: []Decl[string]{decl(1, Current), decl(2, Listed)}}, start, w)
	if !m.Revoked(id(2)) {
		t.Error("2 is no longer revoked without its name")
	}
}

// TestP2_MergeRetires: a credential that the other ledger retired, or that ended there, is
// refused, whether it is remembered or declared previous.
func TestP2_MergeRetires(t *testing.T) {
	t.Parallel()
	w := Window{Overlap: time.Hour}
	until := Decl[string]{ID: id(4), Slot: Previous, Until: start.Add(time.Minute)}
	l := advance(nil, []Decl[string]{decl(1, Current)}, nil, start, w)
	l = advance(l, []Decl[string]{decl(2, Current), decl(3, Previous), until}, nil, start, w)
	for name, other := range map[string]*Ledger[string]{
		"by hand":          l.Retire(),
		"when they passed": Advance(l, Content[string]{Decls: []Decl[string]{decl(2, Current), until}, Retired: []ID{id(1), id(3)}}, start.Add(time.Minute), w),
	} {
		m := l.Merge(other, start, w)
		for b, want := range map[byte]Slot{1: 0, 2: Current, 4: 0} {
			if got := slotOf(m, id(b), start); got != want {
				t.Errorf("%s: credential %d: %s, want %s", name, b, got, want)
			}
		}
		if m = advance(m, []Decl[string]{decl(2, Current), until}, nil, start, w); slotOf(m, id(4), start) != 0 {
			t.Errorf("%s: its source restores it", name)
		}
	}
	if m := l.Merge(l.Retire(), start, w); slotOf(m, id(3), start) != 0 {
		t.Error("declared without a deadline and retired by hand: accepted")
	}
}

// TestP2_MergeKeepsWindows: superseded credentials keep their windows. The other ledger's
// current credential gets a new window, once.
func TestP2_MergeKeepsWindows(t *testing.T) {
	t.Parallel()
	w := Window{Overlap: time.Minute, MaxOverlap: time.Hour}
	other := advance(nil, []Decl[string]{decl(1, Current)}, nil, start, w)
	other = advance(other, []Decl[string]{decl(2, Current), decl(3, Next), decl(4, Listed), decl(5, Previous)}, nil, start, w)
	l := advance(nil, []Decl[string]{decl(6, Current), decl(4, Next)}, nil, start, w)
	m := l.Merge(other, start.Add(time.Second), w)
	for i := range 3 {
		for b, want := range map[byte]Slot{1: Previous, 2: Previous, 3: 0, 4: Next, 5: 0, 6: Current} {
			if got := slotOf(m, id(b), start.Add(time.Second)); got != want {
				t.Errorf("merge %d: credential %d: %s, want %s", i, b, got, want)
			}
		}
		m = m.Merge(other, start.Add(30*time.Minute), w)
	}
	if got := slotOf(m, id(2), start.Add(time.Second+time.Hour)); got != 0 {
		t.Errorf("the second merge gave 2 a new window: %s", got)
	}
	// A use of the new current credential opens the waiting windows in both ledgers.
	if !m.Entries[0].Accept(start.Add(2 * time.Second)) {
		t.Fatal("6 is refused")
	}
	for _, x := range []*Ledger[string]{m, other} {
		if got := slotOf(x, id(1), start.Add(2*time.Second+time.Minute)); got != 0 {
			t.Errorf("1 still waits: %s", got)
		}
	}
}

// TestMergeOfNothing: merging an empty ledger changes nothing.
func TestMergeOfNothing(t *testing.T) {
	t.Parallel()
	l := advance(nil, []Decl[string]{decl(1, Current)}, nil, start, Window{})
	if m := l.Merge(new(Ledger[string]), start, Window{}); slotOf(m, id(1), start) != Current || len(m.Entries) != 1 {
		t.Errorf("%+v", m.Entries)
	}
	m := new(Ledger[string]).Merge(l.Revoke(id(2)), start, Window{})
	if !m.Revoked(id(2)) || len(m.Entries) != 0 {
		t.Errorf("%+v", m.Entries)
	}
}

// TestMergeModel lets two ledgers diverge and checks what Merge promises.
func TestMergeModel(t *testing.T) {
	t.Parallel()
	w := Window{Overlap: time.Minute}
	pool := make([]ID, 6)
	for i := range pool {
		pool[i] = id(byte(i + 1))
	}
	for seed := range uint64(3000) {
		r, now := rand.New(rand.NewPCG(seed, 1)), start
		step := func(l *Ledger[string]) *Ledger[string] {
			switch r.IntN(6) {
			case 0:
				return l.Revoke(revocable(r, pool))
			case 1:
				return l.Retire()
			default:
				return Advance(l, content(r, pool, now), now, w)
			}
		}
		a := new(Ledger[string])
		for range 4 {
			now = now.Add(time.Duration(r.IntN(40)) * time.Second)
			a = step(a)
		}
		b := a
		for range 3 {
			now = now.Add(time.Duration(r.IntN(40)) * time.Second)
			if a = step(a); r.IntN(2) == 0 {
				b = step(b)
			}
		}
		if err := merged(a, b, pool, now, w); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
	}
}

// merged checks b.Merge(a).
func merged(a, b *Ledger[string], pool []ID, now time.Time, w Window) error {
	m := b.Merge(a, now, w)
	for _, id := range pool {
		got, in, out := slotOf(m, id, now), slotOf(a, id, now), slotOf(b, id, now)
		_, lifted := b.lifted[id]
		switch {
		case m.HasRevocation(id) && got != 0:
			return fmt.Errorf("%v is revoked and accepted", id[0])
		case b.HasRevocation(id) && !m.HasRevocation(id), a.HasRevocation(id) && !m.HasRevocation(id) && !lifted:
			return fmt.Errorf("a revocation of %v is lost", id[0])
		case a.Ended(id) && got == Previous && out == Previous && !entryOf(b, id).Declared:
			return fmt.Errorf("%v has ended in one ledger and is remembered", id[0])
		case (in == Current || in == Previous && !entryOf(a, id).Declared) && got == 0 && !m.Revoked(id) && !b.Ended(id) && (entryOf(b, id) == nil || out != 0):
			return fmt.Errorf("%v was accepted and is refused", id[0])
		case out != 0 && got == 0 && !m.Revoked(id) && !a.Ended(id):
			return fmt.Errorf("%v is declared and refused", id[0])
		case got != 0 && in == 0 && out == 0:
			return fmt.Errorf("%v is accepted, but was accepted in neither ledger", id[0])
		}
	}
	return nil
}

func entryOf(l *Ledger[string], id ID) *Entry[string] {
	for i := range l.Entries {
		if l.Entries[i].ID == id {
			return &l.Entries[i]
		}
	}
	return nil
}
