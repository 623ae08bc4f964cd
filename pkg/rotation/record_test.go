package rotation

import (
	"testing"
	"time"
)

// restarted returns l as the next process has it that starts at now under w.
func restarted(l *Ledger[string], now time.Time, w Window) *Ledger[string] {
	records, retired := l.Records(now)
	return Restore(records, retired, now, w)
}

// TestP8_RestartKeepsDeadlines: the window that was granted goes on, to the
// nanosecond, whether it slides, waits or neither.
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
			l = Advance(l, []Decl[string]{decl(2, Current)}, nil, now, c.w)
			if got := l.Entries[1].Deadline(now); !got.Equal(start.Add(c.want)) {
				t.Fatalf("deadline %s after the switch, want %s", got.Sub(start), c.want)
			}
			if slotOf(l, id(1), start.Add(c.want-1)) != Previous || slotOf(l, id(1), start.Add(c.want)) != 0 {
				t.Error("not accepted until exactly its deadline")
			}
			if l.Number != 1 {
				t.Errorf("generation %d, want 1: what was restored is no change", l.Number)
			}
		})
	}
}

// TestP8_SwitchDuringTheRestart: the source changed while nobody watched.
func TestP8_SwitchDuringTheRestart(t *testing.T) {
	t.Parallel()
	w := Window{Overlap: time.Minute}
	l := Advance(nil, []Decl[string]{decl(1, Current)}, nil, start, w)
	now := start.Add(time.Hour)
	l = Advance(restarted(l, now, w), []Decl[string]{decl(2, Current)}, nil, now, w)
	if slotOf(l, id(1), now.Add(time.Minute-1)) != Previous || slotOf(l, id(1), now.Add(time.Minute)) != 0 {
		t.Error("what was current before the restart does not get its overlap")
	}
}

// TestP8_RestoredWindowsAreClamped: a record may lie, be old, or come from before
// the clock was set; from now on no window is longer than one granted now.
func TestP8_RestoredWindowsAreClamped(t *testing.T) {
	t.Parallel()
	fixed := Window{Overlap: time.Minute}
	far := start.Add(1000 * time.Hour)
	for name, c := range map[string]struct {
		record Record[string]
		w      Window
		want   time.Duration // 0 means not accepted
	}{
		"fixed, far":                  {Record[string]{Deadline: far}, fixed, time.Minute},
		"fixed, none now":             {Record[string]{Deadline: far}, Window{}, 0},
		"fixed, past":                 {Record[string]{Deadline: start}, fixed, 0},
		"fixed, slides now":           {Record[string]{Deadline: far}, sliding, 10 * time.Minute},
		"slides, far":                 {Record[string]{Deadline: far, Slides: true}, sliding, 10 * time.Minute},
		"slides, renewed long ago":    {Record[string]{Deadline: far, Slides: true, Renewed: start.Add(-time.Hour)}, sliding, 0},
		"slides, renewed in future":   {Record[string]{Deadline: far, Slides: true, Renewed: far}, sliding, time.Minute},
		"slides, fixed now":           {Record[string]{Deadline: far, Slides: true, Renewed: start.Add(-10 * time.Second)}, fixed, 50 * time.Second},
		"slides, waiting, fixed now":  {Record[string]{Deadline: far, Slides: true}, fixed, time.Minute},
		"slides, past its cap":        {Record[string]{Deadline: start, Slides: true}, sliding, 0},
		"a zero deadline":             {Record[string]{}, fixed, 0},
		"a listed one, never written": {Record[string]{Slot: Listed, Deadline: far}, fixed, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c.record.ID = id(1)
			if c.record.Slot == 0 {
				c.record.Slot = Previous
			}
			l := Restore([]Record[string]{{ID: id(2), Slot: Current}, c.record}, nil, start, c.w)
			l = Advance(l, []Decl[string]{decl(2, Current)}, nil, start, c.w)
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
	l = Advance(nil, content, nil, start, w).Retire()
	l = Advance(restarted(l, start, w), content, nil, start, w)
	if slotOf(l, id(1), start) != 0 {
		t.Error("a restart brought a retired credential back")
	}
}

func TestRestoreTakesTheFirstOfTwo(t *testing.T) {
	t.Parallel()
	w := Window{Overlap: time.Minute}
	l := Restore([]Record[string]{
		{ID: id(1), Slot: Previous, Deadline: start.Add(time.Second)},
		{ID: id(1), Slot: Current},
		{ID: id(2), Slot: Current},
		{ID: id(3), Slot: Current},
	}, nil, start, w)
	if c, ok := l.Current(); !ok || c.ID != id(2) || len(l.Entries) != 2 {
		t.Errorf("%d entries, current %v", len(l.Entries), c)
	}
}

func TestRename(t *testing.T) {
	t.Parallel()
	w := Window{Overlap: time.Minute}
	l, _, _ := switched(w)
	l = l.Revoke(id(7))
	n := l.Rename(map[ID]ID{id(1): id(11), id(7): id(17), id(9): id(19)})
	if slotOf(n, id(11), start) != Previous || slotOf(n, id(1), start) != 0 || !n.Revoked(id(17)) || n.Revoked(id(7)) {
		t.Error("the new names do not stand where the old ones stood")
	}
	if slotOf(l, id(1), start) != Previous || !l.Revoked(id(7)) {
		t.Error("the older ledger changed")
	}
	if n.Number != l.Number {
		t.Error("a new name counts as a change")
	}
	clash := l.Rename(map[ID]ID{id(1): id(2)})
	if slotOf(clash, id(2), start) != Current || len(clash.Entries) != 2 {
		t.Error("a name that is taken was given away")
	}
	var none *Ledger[string]
	if none.Rename(map[ID]ID{id(1): id(2)}) != nil {
		t.Error("the nil ledger became something")
	}
}
