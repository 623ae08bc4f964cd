package rotation

import (
	"testing"
	"time"
)

var start = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func id(b byte) ID { return ID{b} }

func decl(b byte, s Slot) Decl[string] { return Decl[string]{ID: id(b), Slot: s} }

// TestP2_DeadlineIsExclusive pins the boundary: accepted up to the deadline,
// not at it.
func TestP2_DeadlineIsExclusive(t *testing.T) {
	t.Parallel()
	w := Window{Overlap: time.Minute}
	l := Advance(nil, []Decl[string]{decl(1, Current)}, nil, start, w)
	l = Advance(l, []Decl[string]{decl(2, Current)}, nil, start.Add(time.Second), w)
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
	l := Advance(nil, []Decl[string]{decl(1, Current)}, nil, start, w)
	l = Advance(l, []Decl[string]{decl(2, Current)}, nil, start, w)
	for i := range 10 {
		l = Advance(l, []Decl[string]{decl(2, Current)}, nil, start.Add(time.Duration(i)*5*time.Second), w)
	}
	if got := l.Entries[1].Deadline(start); !got.Equal(start.Add(time.Minute)) {
		t.Errorf("deadline %s, want it where the switch put it, %s", got, start.Add(time.Minute))
	}
}

func TestTwoRotationsInOneWindowKeepBothDeadlines(t *testing.T) {
	t.Parallel()
	w := Window{Overlap: time.Minute}
	l := Advance(nil, []Decl[string]{decl(1, Current)}, nil, start, w)
	l = Advance(l, []Decl[string]{decl(2, Current)}, nil, start.Add(10*time.Second), w)
	l = Advance(l, []Decl[string]{decl(3, Current)}, nil, start.Add(20*time.Second), w)
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
	l := Advance(nil, []Decl[string]{decl(1, Current)}, nil, start, w)
	use := l.Entries[0].Use
	l = Advance(l, []Decl[string]{decl(2, Current)}, nil, start, w)
	l = Advance(l, []Decl[string]{decl(1, Current)}, nil, start, w)
	c, ok := l.Current()
	if !ok || c.ID != id(1) || !c.Deadline(start).IsZero() {
		t.Fatalf("current is %v, want credential 1 without a deadline", c)
	}
	if c.Use != use {
		t.Error("the record of uses was lost on the way back")
	}
}

func TestNoOverlapEndsAtOnce(t *testing.T) {
	t.Parallel()
	for _, overlap := range []time.Duration{0, -time.Second} {
		w := Window{Overlap: overlap}
		l := Advance(nil, []Decl[string]{decl(1, Current)}, nil, start, w)
		l = Advance(l, []Decl[string]{decl(2, Current)}, nil, start, w)
		if len(l.Entries) != 1 || !l.Ended(id(1)) {
			t.Errorf("overlap %s: %d entries, ended %t; want the old one gone and known", overlap, len(l.Entries), l.Ended(id(1)))
		}
	}
}

func TestRetireHoldsDeclaredPreviousBack(t *testing.T) {
	t.Parallel()
	w := Window{Overlap: time.Minute}
	content := []Decl[string]{decl(2, Current), decl(1, Previous)}
	l := Advance(nil, content, nil, start, w).Retire()
	l = Advance(l, content, nil, start, w)
	if slotOf(l, id(1), start) != 0 {
		t.Error("a reload of the same declaration brought a retired token back")
	}
	l = Advance(l, []Decl[string]{decl(1, Current)}, nil, start, w)
	if slotOf(l, id(1), start) != Current {
		t.Error("a retired token that is declared current again is refused")
	}
}

func TestRevokedComesBackOnlyByDeclaration(t *testing.T) {
	t.Parallel()
	w := Window{Overlap: time.Minute}
	l := Advance(nil, []Decl[string]{decl(1, Current)}, nil, start, w)
	l = Advance(l, []Decl[string]{decl(2, Current)}, []ID{id(1)}, start, w)
	if slotOf(l, id(1), start) != 0 || !l.Revoked(id(1)) {
		t.Fatal("revoked token still accepted in its overlap")
	}
	l = Advance(l, []Decl[string]{decl(2, Current)}, nil, start, w)
	if slotOf(l, id(1), start) != 0 {
		t.Error("taking the revocation back revived a token that nothing declares")
	}
	l = Advance(l, []Decl[string]{decl(1, Current)}, nil, start, w)
	if slotOf(l, id(1), start) != Current {
		t.Error("declared again without the revocation, but refused")
	}
}

func TestRevokedCurrentLeavesNone(t *testing.T) {
	t.Parallel()
	l := Advance(nil, []Decl[string]{decl(1, Current)}, []ID{id(1)}, start, Window{})
	if _, ok := l.Current(); ok || len(l.Entries) != 0 {
		t.Error("a revoked current token is still in the ledger")
	}
}

func TestEndedIsBounded(t *testing.T) {
	t.Parallel()
	l := Advance(nil, []Decl[string]{decl(0, Current)}, nil, start, Window{})
	for i := range 3 * maxEnded {
		d := Decl[string]{ID: ID{byte(i), byte(i >> 8), 1}, Slot: Current}
		l = Advance(l, []Decl[string]{d}, nil, start, Window{})
	}
	if len(l.ended) > maxEnded {
		t.Errorf("%d remembered, want at most %d", len(l.ended), maxEnded)
	}
	for i := range 3 * maxEnded {
		known := i >= 2*maxEnded-1 && i < 3*maxEnded-1 // the last one is accepted
		if got := l.Ended(ID{byte(i), byte(i >> 8), 1}); got != known {
			t.Fatalf("the token %d before the last: known to have ended %t", 3*maxEnded-1-i, got)
		}
	}
	for i := range 3 * maxEnded { // what is retired is bounded too, once it is gone
		d := []Decl[string]{decl(0, Current), {ID: ID{byte(i), byte(i >> 8), 2}, Slot: Previous}}
		l = Advance(l, d, nil, start, Window{}).Retire()
	}
	if len(l.ended) > maxEnded+1 {
		t.Errorf("%d remembered, want at most %d", len(l.ended), maxEnded+1)
	}
}

// What is held back is held back as well where it was only remembered: the source
// that declares it previous afterwards declares what was retired.
func TestHoldOfWhatIsRemembered(t *testing.T) {
	t.Parallel()
	w := Window{Overlap: time.Minute}
	l := Advance(nil, []Decl[string]{decl(1, Current)}, nil, start, w)
	l = Advance(l, []Decl[string]{decl(2, Current)}, nil, start, w).Hold(id(1), id(1), id(3))
	if m := l.Memo(start); len(m.Retired) != 2 || len(m.Ended) != 0 {
		t.Errorf("%d retired and %d ended are written down, want 2 and none", len(m.Retired), len(m.Ended))
	}
	l = Advance(l, []Decl[string]{decl(2, Current), decl(1, Previous), decl(3, Previous)}, nil, start, w)
	for _, k := range []byte{1, 3} {
		if slotOf(l, id(k), start) != 0 || !l.Ended(id(k)) {
			t.Errorf("%d is accepted again", k)
		}
	}
	l = Advance(l, []Decl[string]{decl(1, Current)}, nil, start, w)
	if slotOf(l, id(1), start) != Current || l.Ended(id(1)) {
		t.Error("declared current, but refused")
	}
}

func TestAdvanceLeavesItsArgumentsAlone(t *testing.T) {
	t.Parallel()
	w := Window{Overlap: time.Minute}
	decls := []Decl[string]{decl(2, Listed), decl(1, Current), decl(2, Next)}
	first := Advance(nil, decls, nil, start, w)
	snapshot := append([]Entry[string](nil), first.Entries...)
	Advance(first, []Decl[string]{decl(3, Current)}, []ID{id(1)}, start, w)
	first.Retire()
	first.Revoke(id(2))
	for i := range snapshot {
		if first.Entries[i] != snapshot[i] {
			t.Errorf("entry %d of the older ledger changed", i)
		}
	}
	if decls[0].Slot != Listed || decls[2].Slot != Next {
		t.Error("the declarations changed")
	}
}

func TestNilLedgerIsEmpty(t *testing.T) {
	t.Parallel()
	var l *Ledger[string]
	if _, ok := l.Current(); ok || l.Revoked(id(1)) || l.Ended(id(1)) {
		t.Error("the nil ledger holds something")
	}
	if got := l.Revoke(id(1)); !got.Revoked(id(1)) || got.Number != 1 {
		t.Error("a revocation before the first content is lost")
	}
	if got := l.Retire(); len(got.Entries) != 0 {
		t.Error("retiring nothing made something")
	}
}

func TestUseHasAGrainAndNeverGoesBack(t *testing.T) {
	t.Parallel()
	var u Use
	if !u.Last().IsZero() {
		t.Fatal("the zero Use was used")
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
		t.Error("a slot that is none has a name")
	}
}
