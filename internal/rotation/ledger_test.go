package rotation

import (
	"reflect"
	"slices"
	"testing"
	"time"
)

var start = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func id(b byte) ID { return ID{b} }

// advance is Advance of a content that only declares and revokes.
func advance(prev *Ledger[string], decls []Decl[string], revoked []ID, now time.Time, w Window) *Ledger[string] {
	return Advance(prev, Content[string]{Decls: decls, Revoked: revoked}, now, w)
}

func decl(b byte, s Slot) Decl[string] { return Decl[string]{ID: id(b), Slot: s} }

// TestP2_DeadlineIsExclusive pins the boundary: accepted up to the deadline,
// not at it.
func TestP2_DeadlineIsExclusive(t *testing.T) {
	t.Parallel()
	w := Window{Overlap: time.Minute}
	l := advance(nil, []Decl[string]{decl(1, Current)}, nil, start, w)
	l = advance(l, []Decl[string]{decl(2, Current)}, nil, start.Add(time.Second), w)
	deadline := start.Add(time.Second + time.Minute)
	if got := slotOf(l, id(1), deadline.Add(-1)); got != Previous {
		t.Errorf("1 ns before the deadline: slot %q, want previous", got)
	}
	if got := slotOf(l, id(1), deadline); got != 0 {
		t.Errorf("at the deadline: slot %q, want none", got)
	}
}

func TestUnchangedContentDoesNotExtend(t *testing.T) {
	t.Parallel()
	w := Window{Overlap: time.Minute}
	l := advance(nil, []Decl[string]{decl(1, Current)}, nil, start, w)
	l = advance(l, []Decl[string]{decl(2, Current)}, nil, start, w)
	for i := range 10 {
		l = advance(l, []Decl[string]{decl(2, Current)}, nil, start.Add(time.Duration(i)*5*time.Second), w)
	}
	if got := l.Entries[1].Deadline(start); !got.Equal(start.Add(time.Minute)) {
		t.Errorf("deadline %s, want it where the switch put it, %s", got, start.Add(time.Minute))
	}
}

func TestTwoRotationsInOneWindowKeepBothDeadlines(t *testing.T) {
	t.Parallel()
	w := Window{Overlap: time.Minute}
	l := advance(nil, []Decl[string]{decl(1, Current)}, nil, start, w)
	l = advance(l, []Decl[string]{decl(2, Current)}, nil, start.Add(10*time.Second), w)
	l = advance(l, []Decl[string]{decl(3, Current)}, nil, start.Add(20*time.Second), w)
	if len(l.Entries) != 3 {
		t.Fatalf("%d entries, want 3", len(l.Entries))
	}
	for i, want := range []time.Duration{0, 80 * time.Second, 70 * time.Second} {
		if got := l.Entries[i].Deadline(start); want != 0 && !got.Equal(start.Add(want)) {
			t.Errorf("entry %d: deadline %s, want %s", i, got, start.Add(want))
		}
	}
}

func TestRotatingBackRestores(t *testing.T) {
	t.Parallel()
	w := Window{Overlap: time.Minute}
	l := advance(nil, []Decl[string]{decl(1, Current)}, nil, start, w)
	use := l.Entries[0].Use
	l = advance(l, []Decl[string]{decl(2, Current)}, nil, start, w)
	l = advance(l, []Decl[string]{decl(1, Current)}, nil, start, w)
	c := l.Currents()[0]
	if c.ID != id(1) || !c.Deadline(start).IsZero() {
		t.Fatalf("current is %v, want credential 1 without a deadline", c)
	}
	if c.Use != use {
		t.Error("the record of uses was lost on the way back")
	}
}

// clientDecl is decl for a named client.
func clientDecl(n byte, client string, slot Slot) Decl[string] {
	d := decl(n, slot)
	d.Client = client
	return d
}

// Each client rotates alone: what replaces the current credential of one supersedes no
// credential of another, and a use opens only the windows of its own client.
func TestP2_ClientsRotateAlone(t *testing.T) {
	t.Parallel()
	w := Window{Overlap: 10 * time.Second, MaxOverlap: time.Hour}
	before := []Decl[string]{decl(1, Current), clientDecl(2, "a", Current), clientDecl(3, "b", Current)}
	for name, c := range map[string]struct {
		next  []Decl[string]
		slots map[byte]Slot // after the change
		uses  byte          // the credential that is used after the change
		open  []byte        // the credentials whose windows have opened by then
	}{
		"one client": {
			next:  []Decl[string]{decl(1, Current), clientDecl(4, "a", Current), clientDecl(3, "b", Current)},
			slots: map[byte]Slot{1: Current, 2: Previous, 3: Current, 4: Current},
			uses:  4, open: []byte{2},
		},
		"one client, another is used": {
			next:  []Decl[string]{decl(1, Current), clientDecl(4, "a", Current), clientDecl(3, "b", Current)},
			slots: map[byte]Slot{1: Current, 2: Previous, 3: Current, 4: Current},
			uses:  3,
		},
		"two clients at once, one is used": {
			next:  []Decl[string]{decl(1, Current), clientDecl(4, "a", Current), clientDecl(5, "b", Current)},
			slots: map[byte]Slot{1: Current, 2: Previous, 3: Previous, 4: Current, 5: Current},
			uses:  5, open: []byte{3},
		},
		"a second bare credential of a client is listed": {
			next:  []Decl[string]{decl(1, Current), clientDecl(2, "a", Current), clientDecl(4, "a", Current), clientDecl(3, "b", Current)},
			slots: map[byte]Slot{1: Current, 2: Current, 3: Current, 4: Listed},
		},
		"two clients swap their credentials": {
			next:  []Decl[string]{decl(1, Current), clientDecl(3, "a", Current), clientDecl(2, "b", Current)},
			slots: map[byte]Slot{1: Current, 2: Current, 3: Current},
		},
		"a credential moves to a new client": {
			next:  []Decl[string]{decl(1, Current), clientDecl(4, "a", Current), clientDecl(2, "c", Current), clientDecl(3, "b", Current)},
			slots: map[byte]Slot{1: Current, 2: Current, 3: Current, 4: Current},
		},
		"a client disappears": {
			next:  []Decl[string]{decl(1, Current), clientDecl(3, "b", Current)},
			slots: map[byte]Slot{1: Current, 2: Previous, 3: Current},
			uses:  3,
		},
		"the unnamed client rotates": {
			next:  []Decl[string]{decl(4, Current), clientDecl(2, "a", Current), clientDecl(3, "b", Current)},
			slots: map[byte]Slot{1: Previous, 2: Current, 3: Current, 4: Current},
			uses:  4, open: []byte{1},
		},
	} {
		for _, restart := range []bool{false, true} {
			l := advance(nil, before, nil, start, w)
			if restart {
				l = restarted(l, start, w)
			}
			l = advance(l, c.next, nil, start, w)
			if c.uses != 0 {
				present(l, id(c.uses), start)
			}
			for n := byte(1); n <= 5; n++ {
				if got := slotOf(l, id(n), start); got != c.slots[n] {
					t.Errorf("%s, restart %t: credential %d in slot %q, want %q", name, restart, n, got, c.slots[n])
				}
			}
			for i := range l.Entries {
				e := &l.Entries[i]
				opened := e.Slot == Previous && !e.Waiting()
				if want := slices.Contains(c.open, e.ID[0]); opened != want {
					t.Errorf("%s, restart %t: the window of credential %d open: %t, want %t", name, restart, e.ID[0], opened, want)
				}
			}
		}
	}
}

func TestNoOverlapEndsAtOnce(t *testing.T) {
	t.Parallel()
	for _, overlap := range []time.Duration{0, -time.Second} {
		w := Window{Overlap: overlap}
		l := advance(nil, []Decl[string]{decl(1, Current)}, nil, start, w)
		l = advance(l, []Decl[string]{decl(2, Current)}, nil, start, w)
		if len(l.Entries) != 1 || !l.Ended(id(1)) {
			t.Errorf("overlap %s: %d entries, ended %t; want 1 entry and true", overlap, len(l.Entries), l.Ended(id(1)))
		}
	}
}

func TestRetireBarsADeclaredPrevious(t *testing.T) {
	t.Parallel()
	w := Window{Overlap: time.Minute}
	content := []Decl[string]{decl(2, Current), decl(1, Previous)}
	l := advance(nil, content, nil, start, w).Retire()
	l = advance(l, content, nil, start, w)
	if slotOf(l, id(1), start) != 0 {
		t.Error("a reload of the same declaration brought a retired token back")
	}
	l = advance(l, []Decl[string]{decl(1, Current)}, nil, start, w)
	if slotOf(l, id(1), start) != Current {
		t.Error("a retired token that is declared current again is refused")
	}
}

// TestP3_RevocationIsSticky: a revoked credential stays refused in every slot in which
// the source declares it without the revocation, and RevokedDeclared lists it meanwhile.
func TestP3_RevocationIsSticky(t *testing.T) {
	t.Parallel()
	w := Window{Overlap: time.Minute}
	revoked := func() *Ledger[string] {
		l := advance(nil, []Decl[string]{decl(1, Current)}, nil, start, w)
		return advance(l, []Decl[string]{decl(2, Current)}, []ID{id(1)}, start, w)
	}
	for _, slot := range Slots {
		l := revoked()
		if slotOf(l, id(1), start) != 0 || !l.Revoked(id(1)) || len(l.RevokedDeclared) != 0 {
			t.Fatal("the revoked credential is accepted in its overlap, or RevokedDeclared lists it")
		}
		l = advance(l, []Decl[string]{decl(1, slot), decl(2, Listed)}, nil, start, w)
		if slotOf(l, id(1), start) != 0 || !l.Revoked(id(1)) {
			t.Errorf("declared %s without the revocation: accepted again", slot)
		}
		if len(l.RevokedDeclared) != 1 || l.RevokedDeclared[0].ID != id(1) {
			t.Errorf("declared %s without the revocation: RevokedDeclared lists %d", slot, len(l.RevokedDeclared))
		}
		if n := l.Retire().Revoke(id(9)); len(n.RevokedDeclared) != 1 {
			t.Error("RevokedDeclared is lost by a manual change")
		}
		if l = advance(l, []Decl[string]{decl(2, Current)}, nil, start, w); len(l.RevokedDeclared) != 0 || !l.Revoked(id(1)) {
			t.Error("no longer declared: RevokedDeclared still lists it, or it is no longer revoked")
		}
	}
	l := advance(nil, []Decl[string]{decl(1, Current)}, nil, start, w).Revoke(id(1))
	if len(l.RevokedDeclared) != 1 {
		t.Error("revoked by hand while declared: RevokedDeclared does not list it")
	}
	if l = restarted(l, start, w); !l.Revoked(id(1)) {
		t.Error("a snapshot loses revocations")
	}
	if l = advance(l, []Decl[string]{decl(1, Current)}, nil, start, w); slotOf(l, id(1), start) != 0 {
		t.Error("accepted again after a restart")
	}
}

// TestTwoLedgersFollowOne: two agents can start from one ledger. A revocation in one does
// not appear in the other.
func TestTwoLedgersFollowOne(t *testing.T) {
	t.Parallel()
	decls := []Decl[string]{decl(1, Current), decl(2, Listed), decl(3, Listed), decl(4, Listed), decl(5, Listed)}
	l := advance(nil, decls, nil, start, Window{}).Revoke(id(1), id(2), id(3))
	one, other := l.Revoke(id(4)), l.Revoke(id(5))
	for b, n := range map[byte]*Ledger[string]{4: one, 5: other} {
		if d := n.RevokedDeclared; len(d) != 4 || d[3].ID != id(b) {
			t.Errorf("revoked %d: RevokedDeclared lists %d, and the last one is wrong", b, len(d))
		}
	}
}

func TestP3_UnrevokedLiftsOnce(t *testing.T) {
	t.Parallel()
	c := Content[string]{Decls: []Decl[string]{decl(1, Current)}, Unrevoked: []ID{id(1)}}
	both := c
	both.Revoked = []ID{id(1)}
	accepted := func(l *Ledger[string]) bool { return slotOf(l, id(1), start) == Current }
	l := Advance(nil, both, start, Window{})
	if accepted(l) {
		t.Fatal("unrevoked beats revoked in the same content")
	}
	l = Advance(l, c, start, Window{})
	if !accepted(l) || l.Revoked(id(1)) || len(l.RevokedDeclared) != 0 {
		t.Fatal("unrevoked does not lift a revocation that was seen before")
	}
	// A line that stays in the source must not lift a later revocation.
	l = Advance(l.Revoke(id(1)), c, start, Window{})
	if accepted(l) {
		t.Error("the same line lifted a later revocation")
	}
	if l = Advance(restarted(l, start, Window{}), c, start, Window{}); accepted(l) {
		t.Error("the same line lifted it after a restart")
	}
	if l = Advance(l.Unrevoke(id(1)), c, start, Window{}); !accepted(l) {
		t.Error("Unrevoke does not lift it")
	}
	// The revocation came from rejected content of the same source, so the line lifts it.
	if l = Advance(l.Reject([]ID{id(1)}), c, start, Window{}); !accepted(l) {
		t.Error("the source cannot lift a revocation of rejected content")
	}
}

// TestP3_RevokedByName: revoking a name revokes every credential that has the name, also
// credentials that appear later. Unrevoking the name lifts only this revocation.
func TestP3_RevokedByName(t *testing.T) {
	t.Parallel()
	named := decl(1, Current)
	named.Names = []ID{id(50), id(51)}
	other := decl(2, Listed)
	other.Names = []ID{id(51)}
	decls := []Decl[string]{named, other, decl(3, Listed)}
	l := advance(nil, decls, []ID{id(51)}, start, Window{})
	if !l.Revoked(id(1)) || !l.Revoked(id(2)) {
		t.Errorf("revoked: 1 %t, 2 %t", l.Revoked(id(1)), l.Revoked(id(2)))
	}
	if len(l.Entries) != 1 || len(l.RevokedDeclared) != 0 {
		t.Errorf("%d accepted, %d in RevokedDeclared", len(l.Entries), len(l.RevokedDeclared))
	}
	l = advance(l, decls, nil, start, Window{})
	if len(l.Entries) != 1 || len(l.RevokedDeclared) != 2 {
		t.Errorf("without the revocation: %d accepted, %d in RevokedDeclared", len(l.Entries), len(l.RevokedDeclared))
	}
	l = advance(l.Unrevoke(id(51)), decls, nil, start, Window{})
	if len(l.Entries) != 3 || l.Revoked(id(1)) {
		t.Errorf("unrevoked: %d accepted", len(l.Entries))
	}
	if l = advance(nil, decls, nil, start, Window{}).Revoke(id(50)); len(l.Entries) != 2 || !l.Revoked(id(1)) {
		t.Errorf("revoked by hand: %d accepted", len(l.Entries))
	}
}

// TestP3_RevokedUnderEveryNameItHad: a credential that was revoked under a name does not
// return under another name, even after a restart, until all its revocations are lifted.
func TestP3_RevokedUnderEveryNameItHad(t *testing.T) {
	t.Parallel()
	const a, b, c = 50, 51, 52
	called := func(names ...byte) (out Content[string]) {
		d := decl(1, Listed)
		for _, n := range names {
			d.Names = append(d.Names, id(n))
		}
		out.Decls = []Decl[string]{d}
		return out
	}
	lifts := func(out Content[string], n byte) Content[string] { out.Unrevoked = []ID{id(n)}; return out }
	for name, x := range map[string]struct {
		then []func(l *Ledger[string]) *Ledger[string]
		want bool
	}{
		"renamed":                      {nil, false},
		"the other lifted by hand":     {[]func(*Ledger[string]) *Ledger[string]{func(l *Ledger[string]) *Ledger[string] { return l.Unrevoke(id(b)) }}, false},
		"both lifted by hand":          {[]func(*Ledger[string]) *Ledger[string]{func(l *Ledger[string]) *Ledger[string] { return l.Unrevoke(id(a), id(b)) }}, true},
		"the one lifted by the source": {[]func(*Ledger[string]) *Ledger[string]{func(l *Ledger[string]) *Ledger[string] { return Advance(l, lifts(called(c), a), start, Window{}) }}, false},
		"both lifted, the one by the source": {[]func(*Ledger[string]) *Ledger[string]{func(l *Ledger[string]) *Ledger[string] {
			return Advance(l, lifts(called(c), a), start, Window{}).Unrevoke(id(b))
		}}, true},
		"and revoked by its thumbprint since": {[]func(*Ledger[string]) *Ledger[string]{func(l *Ledger[string]) *Ledger[string] { return l.Revoke(id(1)).Unrevoke(id(a), id(b)) }}, false},
	} {
		for _, restarts := range []bool{false, true} {
			l := Advance(nil, called(a, b), start, Window{}).Revoke(id(b), id(a))
			for _, f := range append([]func(*Ledger[string]) *Ledger[string]{func(l *Ledger[string]) *Ledger[string] { return l }}, x.then...) {
				if l = f(l); restarts {
					l = restarted(l, start, Window{})
				}
				l = Advance(l, called(c), start, Window{})
			}
			if got := slotOf(l, id(1), start) != 0; got != x.want || l.Revoked(id(1)) == x.want {
				t.Errorf("%s, restarts %t: accepted %t", name, restarts, got)
			}
		}
	}
	both := called(c)
	both.Revoked = []ID{id(a)}
	l := Advance(Advance(nil, called(a), start, Window{}), both, start, Window{})
	if slotOf(l, id(1), start) != 0 || len(l.RevokedDeclared) != 0 {
		t.Errorf("renamed by the content that revokes its name: accepted, or RevokedDeclared lists %d", len(l.RevokedDeclared))
	}
}

// TestTableOfSlots is the table of the contract: the earlier slot of a credential, the new
// content of the source, and the new slot.
func TestTableOfSlots(t *testing.T) {
	t.Parallel()
	w := Window{Overlap: time.Minute}
	soon, past := start.Add(10*time.Second), start.Add(-time.Second)
	until := func(at time.Time) Decl[string] { return Decl[string]{ID: id(1), Slot: Previous, Until: at} }
	first := func(decls ...Decl[string]) *Ledger[string] {
		return advance(nil, append([]Decl[string]{decl(8, Current)}, decls...), nil, start, w)
	}
	was := map[string]*Ledger[string]{
		"nothing":    first(),
		"current":    advance(nil, []Decl[string]{decl(1, Current)}, nil, start, w),
		"next":       first(decl(1, Next)),
		"listed":     first(decl(1, Listed)),
		"previous":   first(decl(1, Previous)),
		"dated":      first(until(soon)),
		"remembered": advance(advance(nil, []Decl[string]{decl(1, Current)}, nil, start, w), []Decl[string]{decl(8, Current)}, nil, start, w),
		"retired":    Advance(first(), Content[string]{Decls: []Decl[string]{decl(8, Current)}, Retired: []ID{id(1)}}, start, w),
		"revoked":    first(decl(1, Listed)).Revoke(id(1)),
	}
	anything := []string{"nothing", "current", "next", "listed", "previous", "dated", "remembered", "retired", "revoked"}
	notRevoked := anything[:8]
	for _, c := range []struct {
		was      []string
		says     string
		content  Content[string]
		slot     Slot
		deadline time.Time // zero for none
		ended    bool      // refused as expired
		listed   bool      // in RevokedDeclared
	}{
		{anything, "revoked", Content[string]{Revoked: []ID{id(1)}}, 0, time.Time{}, false, false},
		{anything, "current and revoked", Content[string]{Decls: []Decl[string]{decl(1, Current)}, Revoked: []ID{id(1)}}, 0, time.Time{}, false, false},
		{[]string{"revoked"}, "current", Content[string]{Decls: []Decl[string]{decl(1, Current)}}, 0, time.Time{}, false, true},
		{[]string{"revoked"}, "next", Content[string]{Decls: []Decl[string]{decl(1, Next)}}, 0, time.Time{}, false, true},
		{[]string{"revoked"}, "listed", Content[string]{Decls: []Decl[string]{decl(1, Listed)}}, 0, time.Time{}, false, true},
		{[]string{"revoked"}, "previous", Content[string]{Decls: []Decl[string]{until(soon)}}, 0, time.Time{}, false, true},
		{[]string{"revoked"}, "retired", Content[string]{Retired: []ID{id(1)}}, 0, time.Time{}, false, false},
		{anything, "current and unrevoked", Content[string]{Decls: []Decl[string]{decl(1, Current)}, Unrevoked: []ID{id(1)}}, Current, time.Time{}, false, false},
		{notRevoked, "current", Content[string]{Decls: []Decl[string]{decl(1, Current)}}, Current, time.Time{}, false, false},
		{notRevoked, "next", Content[string]{Decls: []Decl[string]{decl(1, Next)}}, Next, time.Time{}, false, false},
		{notRevoked, "listed", Content[string]{Decls: []Decl[string]{decl(1, Listed)}}, Listed, time.Time{}, false, false},
		{notRevoked, "previous until", Content[string]{Decls: []Decl[string]{until(soon)}}, Previous, soon, false, false},
		{notRevoked, "previous until a moment that has passed", Content[string]{Decls: []Decl[string]{until(past)}}, 0, time.Time{}, true, false},
		{notRevoked, "previous", Content[string]{Decls: []Decl[string]{decl(1, Previous)}}, Previous, time.Time{}, false, false},
		{notRevoked, "retired", Content[string]{Retired: []ID{id(1)}}, 0, time.Time{}, true, false},
		{notRevoked, "retired and previous", Content[string]{Decls: []Decl[string]{until(soon)}, Retired: []ID{id(1)}}, Previous, soon, false, false},
		{notRevoked, "retired and listed", Content[string]{Decls: []Decl[string]{decl(1, Listed)}, Retired: []ID{id(1)}}, Listed, time.Time{}, false, false},
		{[]string{"current"}, "nothing", Content[string]{}, Previous, start.Add(time.Minute), false, false},
		{[]string{"remembered"}, "nothing", Content[string]{}, Previous, start.Add(time.Minute), false, false},
		{[]string{"next", "listed", "nothing"}, "nothing", Content[string]{}, 0, time.Time{}, false, false},
		{[]string{"previous", "dated", "retired"}, "nothing", Content[string]{}, 0, time.Time{}, true, false},
	} {
		for _, name := range c.was {
			// If two are declared current, the first one is current.
			c.content.Decls = append(slices.Clip(c.content.Decls), decl(9, Current))
			l := Advance(was[name], c.content, start, w)
			if got := slotOf(l, id(1), start); got != c.slot || l.Ended(id(1)) != c.ended || (len(l.RevokedDeclared) > 0) != c.listed {
				t.Errorf("%s, then %s: slot %q, ended %t, in RevokedDeclared %t; want %q, %t, %t", name, c.says, got, l.Ended(id(1)), len(l.RevokedDeclared) > 0, c.slot, c.ended, c.listed)
			}
			for i := range l.Entries {
				if e := &l.Entries[i]; e.ID == id(1) && !e.Deadline(start).Equal(c.deadline) {
					t.Errorf("%s, then %s: deadline %s, want %s", name, c.says, e.Deadline(start), c.deadline)
				}
			}
		}
	}
}

// TestRetiredIsNotSticky: after the source stops retiring a credential, the ledger refuses
// it only until the source declares it. While the source retires it, Ended returns true.
func TestRetiredIsNotSticky(t *testing.T) {
	t.Parallel()
	w := Window{Overlap: time.Minute}
	many := Content[string]{Decls: []Decl[string]{decl(1, Current)}}
	for i := range 3 * maxEnded {
		many.Retired = append(many.Retired, ID{byte(i), byte(i >> 8), 7})
	}
	l := Advance(nil, many, start, w)
	for _, id := range many.Retired {
		if !l.Ended(id) {
			t.Fatal("a credential that the source retires has not ended")
		}
	}
	if l = advance(l, []Decl[string]{decl(1, Current)}, nil, start, w); len(l.ended.list) > maxEnded {
		t.Errorf("%d tombstones, want at most %d", len(l.ended.list), maxEnded)
	}
	last := many.Retired[len(many.Retired)-1]
	for range 2 {
		l = advance(l, []Decl[string]{{ID: last, Slot: Previous}, decl(1, Current)}, nil, start, w)
		if slotOf(l, last, start) != Previous {
			t.Error("declared previous after it was retired: refused")
		}
		l = restarted(Advance(l, many, start, w), start, w)
	}
}

func TestRevokedCurrentLeavesNone(t *testing.T) {
	t.Parallel()
	l := advance(nil, []Decl[string]{decl(1, Current)}, []ID{id(1)}, start, Window{})
	if len(l.Currents()) > 0 || len(l.Entries) != 0 {
		t.Error("a revoked current token is still in the ledger")
	}
}

func TestEndedIsBounded(t *testing.T) {
	t.Parallel()
	l := advance(nil, []Decl[string]{decl(0, Current)}, nil, start, Window{})
	for i := range 3 * maxEnded {
		d := Decl[string]{ID: ID{byte(i), byte(i >> 8), 1}, Slot: Current}
		l = advance(l, []Decl[string]{d}, nil, start, Window{})
	}
	if len(l.ended.list) > maxEnded {
		t.Errorf("%d tombstones, want at most %d", len(l.ended.list), maxEnded)
	}
	for i := range 3 * maxEnded {
		known := i >= 2*maxEnded-1 && i < 3*maxEnded-1 // the last one is accepted
		if got := l.Ended(ID{byte(i), byte(i >> 8), 1}); got != known {
			t.Fatalf("the credential %d before the last: ended %t", 3*maxEnded-1-i, got)
		}
	}
	for i := range 3 * maxEnded { // retired credentials that the source has dropped are bounded, too
		d := []Decl[string]{decl(0, Current), {ID: ID{byte(i), byte(i >> 8), 2}, Slot: Previous}}
		l = advance(l, d, nil, start, Window{}).Retire()
	}
	if len(l.ended.list) > maxEnded+1 {
		t.Errorf("%d tombstones, want at most %d", len(l.ended.list), maxEnded+1)
	}
}

// TestRetireIDsOfRemembered: retireIDs also retires credentials that are only remembered,
// and unknown ones. A source that declares one of them previous does not restore it.
func TestRetireIDsOfRemembered(t *testing.T) {
	t.Parallel()
	w := Window{Overlap: time.Minute}
	l := advance(nil, []Decl[string]{decl(1, Current)}, nil, start, w)
	l = advance(l, []Decl[string]{decl(2, Current)}, nil, start, w).retireIDs(id(1), id(1), id(3))
	if m := l.Snapshot(start, nil); len(m.Retired) != 2 || len(m.Ended) != 0 {
		t.Errorf("the snapshot has %d retired and %d ended, want 2 and none", len(m.Retired), len(m.Ended))
	}
	l = advance(l, []Decl[string]{decl(2, Current), decl(1, Previous), decl(3, Previous)}, nil, start, w)
	for _, k := range []byte{1, 3} {
		if slotOf(l, id(k), start) != 0 || !l.Ended(id(k)) {
			t.Errorf("%d is accepted again", k)
		}
	}
	l = advance(l, []Decl[string]{decl(1, Current)}, nil, start, w)
	if slotOf(l, id(1), start) != Current || l.Ended(id(1)) {
		t.Error("declared current, but refused")
	}
}

func TestAdvanceLeavesItsArgumentsAlone(t *testing.T) {
	t.Parallel()
	w := Window{Overlap: time.Minute}
	decls := []Decl[string]{decl(2, Listed), decl(1, Current), decl(2, Next)}
	first := advance(nil, decls, nil, start, w)
	snapshot := append([]Entry[string](nil), first.Entries...)
	advance(first, []Decl[string]{decl(3, Current)}, []ID{id(1)}, start, w)
	first.Retire()
	first.Revoke(id(2))
	for i := range snapshot {
		if !reflect.DeepEqual(first.Entries[i], snapshot[i]) {
			t.Errorf("entry %d of the older ledger changed", i)
		}
	}
	if decls[0].Slot != Listed || decls[2].Slot != Next {
		t.Error("the declarations changed")
	}
}

func TestZeroLedgerIsEmpty(t *testing.T) {
	t.Parallel()
	l := new(Ledger[string])
	if len(l.Currents()) > 0 || l.Revoked(id(1)) || l.Ended(id(1)) {
		t.Error("the zero ledger is not empty")
	}
	if got := l.Revoke(id(1)); !got.Revoked(id(1)) || got.Number != 1 {
		t.Error("a revocation before the first content is lost")
	}
	if got := l.Retire(); len(got.Entries) != 0 {
		t.Error("Retire of an empty ledger added an entry")
	}
}

func TestUseIsRecordedToTheSecondAndNeverGoesBack(t *testing.T) {
	t.Parallel()
	var u Use
	if !u.Last().IsZero() {
		t.Fatal("the zero Use has a last use")
	}
	for _, c := range []struct {
		mark, want time.Duration
	}{{0, 0}, {999 * time.Millisecond, 0}, {time.Second, time.Second}, {-time.Hour, time.Second}} {
		u.Mark(start.Add(c.mark))
		if got := u.Last(); !got.Equal(start.Add(c.want)) {
			t.Errorf("after a use at %s: %s, want %s", c.mark, got.Sub(start), c.want)
		}
	}
}

func TestSlotNames(t *testing.T) {
	t.Parallel()
	want := []string{"current", "next", "previous", "listed"}
	for i, s := range Slots {
		if s.String() != want[i] {
			t.Errorf("slot %d is %q, want %q", s, s, want[i])
		}
	}
	if Slot(0).String() != "" || Slot(9).String() != "" {
		t.Error("an unknown slot has a name")
	}
}
