package rotation

import (
	"slices"
	"testing"
	"time"
)

// restarted returns the ledger that the next process restores from l at now under w.
func restarted(l *Ledger[string], now time.Time, w Window) *Ledger[string] {
	return Restore[string](l.Snapshot(now, nil), now, w, nil)
}

// TestP8_RestartKeepsDeadlines: a restart keeps the end of a window to the nanosecond,
// whether the window slides, waits or is fixed.
func TestP8_RestartKeepsDeadlines(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		w       Window
		newUsed bool
		want    time.Duration
	}{
		"fixed":            {Window{Overlap: time.Minute}, true, time.Minute},
		"sliding, waiting": {sliding, false, 10 * time.Minute},
		"sliding, open":    {sliding, true, 80 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l, _, renewed := switched(c.w)
			if c.newUsed {
				renewed(20 * time.Second)
			}
			now := start.Add(30 * time.Second)
			l = restarted(l, now, c.w)
			l = advance(l, []Decl[string]{decl(2, Current)}, nil, now, c.w)
			if got := l.Entries[1].Deadline(now); !got.Equal(start.Add(c.want)) {
				t.Fatalf("deadline %s after the switch, want %s", got.Sub(start), c.want)
			}
			if slotOf(l, id(1), start.Add(c.want-1)) != Previous || slotOf(l, id(1), start.Add(c.want)) != 0 {
				t.Error("not accepted until exactly its deadline")
			}
			if l.Number != 1 {
				t.Errorf("generation %d, want 1: restoring is not a change", l.Number)
			}
		})
	}
}

// TestP8_SwitchDuringTheRestart: the source changed while no process was running.
func TestP8_SwitchDuringTheRestart(t *testing.T) {
	t.Parallel()
	w := Window{Overlap: time.Minute}
	l := advance(nil, []Decl[string]{decl(1, Current)}, nil, start, w)
	now := start.Add(time.Hour)
	l = advance(restarted(l, now, w), []Decl[string]{decl(2, Current)}, nil, now, w)
	if slotOf(l, id(1), now.Add(time.Minute-1)) != Previous || slotOf(l, id(1), now.Add(time.Minute)) != 0 {
		t.Error("the credential that was current before the restart gets no overlap")
	}
}

// TestP8_RestoredWindowsAreClamped: a snapshot can be wrong, old, or from before the clock
// was set. No restored window is longer than one that is granted now.
func TestP8_RestoredWindowsAreClamped(t *testing.T) {
	t.Parallel()
	fixed := Window{Overlap: time.Minute}
	far := start.Add(1000 * time.Hour)
	for name, c := range map[string]struct {
		record SnapshotEntry
		w      Window
		want   time.Duration // 0 means not accepted
	}{
		"fixed, far":                 {SnapshotEntry{Deadline: far}, fixed, time.Minute},
		"fixed, none now":            {SnapshotEntry{Deadline: far}, Window{}, 0},
		"fixed, past":                {SnapshotEntry{Deadline: start}, fixed, 0},
		"fixed, slides now":          {SnapshotEntry{Deadline: far}, sliding, 10 * time.Minute},
		"slides, far":                {SnapshotEntry{Deadline: far, Cap: far}, sliding, 10 * time.Minute},
		"slides, renewed long ago":   {SnapshotEntry{Deadline: far, Cap: far, Renewed: start.Add(-time.Hour)}, sliding, 0},
		"slides, renewed in future":  {SnapshotEntry{Deadline: far, Cap: far, Renewed: far}, sliding, time.Minute},
		"slides, fixed now":          {SnapshotEntry{Deadline: start.Add(50 * time.Second), Cap: far, Renewed: start.Add(-10 * time.Second)}, fixed, 50 * time.Second},
		"slides, waiting, fixed now": {SnapshotEntry{Deadline: far, Cap: far}, fixed, time.Minute},
		"slides, past its cap":       {SnapshotEntry{Deadline: start, Cap: start}, sliding, 0},
		"slides, had ended, longer now": {
			SnapshotEntry{Deadline: start.Add(-time.Second), Cap: far, Renewed: start.Add(-30 * time.Second)}, sliding, 0,
		},
		"zero deadline":                {SnapshotEntry{}, fixed, 0},
		"listed, which is never saved": {SnapshotEntry{Slot: Listed, Deadline: far}, fixed, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c.record.ID = id(1)
			if c.record.Slot == 0 {
				c.record.Slot = Previous
			}
			l := Restore[string](Snapshot{Entries: []SnapshotEntry{{ID: id(2), Slot: Current}, c.record}}, start, c.w, nil)
			l = advance(l, []Decl[string]{decl(2, Current)}, nil, start, c.w)
			if c.want == 0 {
				if slotOf(l, id(1), start) != 0 {
					t.Error("accepted")
				}
				return
			}
			if slotOf(l, id(1), start.Add(c.want-1)) != Previous || slotOf(l, id(1), start.Add(c.want)) != 0 {
				t.Errorf("not accepted for exactly %s, but until %s", c.want, l.Entries[1].Deadline(start).Sub(start))
			}
		})
	}
}

func TestRestoreKeepsUsesAndRetirements(t *testing.T) {
	t.Parallel()
	w := Window{Overlap: time.Minute}
	l, old, _ := switched(w)
	old(10 * time.Second)
	used := l.Entries[1].Use.Last()
	l = restarted(l, start.Add(20*time.Second), w)
	if got := l.Entries[1].Use.Last(); !got.Equal(used) {
		t.Errorf("last used %s, want %s", got, used)
	}
	content := []Decl[string]{decl(2, Current), decl(1, Previous)}
	l = advance(nil, content, nil, start, w).Retire()
	l = advance(restarted(l, start, w), content, nil, start, w)
	if slotOf(l, id(1), start) != 0 {
		t.Error("a restart restored a retired credential")
	}
}

func TestRestoreTakesTheFirstOfTwo(t *testing.T) {
	t.Parallel()
	w := Window{Overlap: time.Minute}
	l := Restore[string](Snapshot{Entries: []SnapshotEntry{
		{ID: id(1), Slot: Previous, Deadline: start.Add(time.Second)},
		{ID: id(1), Slot: Current},
		{ID: id(2), Slot: Current},
		{ID: id(3), Slot: Current},
	}}, start, w, nil)
	if c := l.Currents(); len(c) != 1 || c[0].ID != id(2) || len(l.Entries) != 2 {
		t.Errorf("%d entries, current %v", len(l.Entries), c)
	}
}

// TestP8_RestoreKeepsTheOrderOfWindows: after a restart, too, a use of the middle one of
// three credentials opens the window of the first.
func TestP8_RestoreKeepsTheOrderOfWindows(t *testing.T) {
	t.Parallel()
	l := advance(nil, []Decl[string]{decl(1, Current)}, nil, start, sliding)
	l = advance(l, []Decl[string]{decl(2, Current)}, nil, start, sliding)
	l = advance(l, []Decl[string]{decl(3, Current)}, nil, start, sliding)
	for range 2 {
		l = restarted(l, start, sliding)
		l = advance(l, []Decl[string]{decl(3, Current)}, nil, start, sliding)
	}
	l = advance(l, []Decl[string]{decl(4, Current)}, nil, start, sliding)
	waiting := func() (ids []byte) {
		for i := range l.Entries {
			if l.Entries[i].Waiting() {
				ids = append(ids, l.Entries[i].ID[0])
			}
		}
		slices.Sort(ids)
		return ids
	}
	if got := waiting(); !slices.Equal(got, []byte{1, 2, 3}) {
		t.Fatalf("waiting: %v", got)
	}
	present(l, id(2), start)
	if got := waiting(); !slices.Equal(got, []byte{2, 3}) {
		t.Errorf("after a use of 2, waiting: %v, want 2 and 3", got)
	}
	present(l, id(3), start)
	if got := waiting(); !slices.Equal(got, []byte{3}) {
		t.Errorf("after a use of 3, waiting: %v, want 3", got)
	}
}

// TestRestoreKeepsUsesOfDeclaredOnes: an operator retires the old credential when it is no
// longer used. So a restart keeps its last use, also if the Secret declares it previous.
func TestRestoreKeepsUsesOfDeclaredOnes(t *testing.T) {
	t.Parallel()
	content := []Decl[string]{decl(2, Current), {ID: id(1), Slot: Previous, Until: start.Add(time.Hour)}}
	l := advance(nil, content, nil, start, Window{})
	present(l, id(1), start.Add(time.Second))
	used := l.Entries[1].Use.Last()
	for range 2 { // the first process ends before it has read the source
		l = restarted(l, start.Add(2*time.Second), Window{})
	}
	if slotOf(l, id(1), start) != 0 {
		t.Error("a declared credential is accepted before the source was read")
	}
	l = advance(l, content, nil, start.Add(2*time.Second), Window{})
	if got := l.Entries[1].Use.Last(); !got.Equal(used) {
		t.Errorf("last used %s, want %s", got, used)
	}
	ahead := Snapshot{Entries: []SnapshotEntry{{ID: id(1), Slot: Previous, Declared: true, LastUsed: start.Add(time.Hour)}}}
	l = advance(Restore[string](ahead, start, Window{}, nil), content, nil, start, Window{})
	if got := l.Entries[1].Use.Last(); !got.Equal(start) {
		t.Errorf("a use from the future: %s, want %s", got, start)
	}
}

// TestP8_AllRetirementsSurviveARestart has more retirements than maxEnded.
func TestP8_AllRetirementsSurviveARestart(t *testing.T) {
	t.Parallel()
	decls := []Decl[string]{decl(0, Current)}
	for i := range maxEnded + 50 {
		decls = append(decls, Decl[string]{ID: ID{byte(i), byte(i >> 8), 1}, Slot: Previous, Until: start.Add(time.Hour)})
	}
	l := advance(nil, decls, nil, start, Window{}).Retire()
	for name, next := range map[string]*Ledger[string]{
		"restarted":       restarted(l, start, Window{}),
		"another process": advance(nil, decls, nil, start, Window{}).Adopt(l.Snapshot(start, nil), func(ID) bool { return false }),
	} {
		for range 2 {
			if next = advance(next, decls, nil, start, Window{}); len(next.Entries) != 1 {
				t.Errorf("%s: %d retired credentials are accepted again", name, len(next.Entries)-1)
			}
		}
		if next = advance(next, decls[:1], nil, start, Window{}); len(next.ended.list) > maxEnded {
			t.Errorf("%s: %d tombstones that the source does not mention, want at most %d", name, len(next.ended.list), maxEnded)
		}
	}
}

// TestAdopt adopts snapshots of a process that has read older, the same, and newer content
// of the source.
func TestAdopt(t *testing.T) {
	t.Parallel()
	w := Window{}
	nothing := func(ID) bool { return false }
	named := decl(1, Listed)
	named.Names = []ID{id(50)}
	renamed := decl(1, Listed)
	content := Content[string]{Decls: []Decl[string]{decl(2, Current), named}}
	l := Advance(nil, content, start, w)
	theirs := l.Revoke(id(2), id(50))
	if got := l.Adopt(theirs.Snapshot(start, nil), nothing); len(got.Entries) != 0 {
		t.Errorf("%d accepted that the other process revoked", len(got.Entries))
	}
	if got := l.Adopt(theirs.Snapshot(start, nil), func(is ID) bool { return is == id(2) }); len(got.Entries) != 1 {
		t.Errorf("%d accepted, want only the one whose revocation was lifted here", len(got.Entries))
	}
	if empty := new(Ledger[string]); l.Adopt(l.Snapshot(start, nil), nothing) != l || empty.Adopt(Snapshot{}, nothing) != empty {
		t.Error("a snapshot with nothing new changes the ledger")
	}
	moved := Content[string]{Decls: []Decl[string]{decl(2, Current), renamed}}
	got := Advance(l, moved, start, w).Adopt(theirs.Snapshot(start, nil), nothing)
	if slotOf(got, id(1), start) != 0 {
		t.Error("a credential that was revoked by an earlier name is accepted")
	}
	if got.Adopt(theirs.Snapshot(start, nil), nothing) != got {
		t.Error("adopting the same snapshot again changes the ledger")
	}
	lifting := content
	lifting.Unrevoked = []ID{id(2)}
	mine := Advance(theirs, lifting, start, w)
	if got := mine.Adopt(theirs.Snapshot(start, nil), nothing); slotOf(got, id(2), start) != Current {
		t.Error("the other process has not read the lift yet: refused again")
	}
	again := mine.Revoke(id(2))
	if got := mine.Adopt(again.Snapshot(start, nil), nothing); slotOf(got, id(2), start) != 0 {
		t.Error("the other process revoked it after the lift: accepted")
	}
}

func TestRestoreTellsEndedFromUnknown(t *testing.T) {
	t.Parallel()
	w := Window{Overlap: time.Minute}
	l, _, _ := switched(w)
	later := start.Add(time.Hour)
	l = advance(l, []Decl[string]{decl(2, Current), decl(3, Listed)}, nil, later, w)
	if l = restarted(l, later, w); !l.Ended(id(1)) || l.Ended(id(9)) {
		t.Error("a restart loses superseded credentials")
	}
}

func TestRetireIDs(t *testing.T) {
	t.Parallel()
	content := []Decl[string]{decl(2, Current), decl(1, Previous), decl(3, Previous)}
	l := advance(nil, content, nil, start, Window{}).retireIDs(id(1), id(2), id(9))
	for range 2 {
		if slotOf(l, id(1), start) != 0 || slotOf(l, id(2), start) != Current || slotOf(l, id(3), start) != Previous {
			t.Fatal("retireIDs must refuse exactly the superseded credential among its arguments")
		}
		l = advance(l, content, nil, start, Window{})
	}
}
