package rotation

import (
	"math"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"
)

// sliding is the window of most tests here.
var sliding = Window{Overlap: time.Minute, MaxOverlap: 10 * time.Minute}

// switched returns a ledger in which credential 2 replaced 1 at start, and functions that
// present each of them some time later.
func switched(w Window) (l *Ledger[string], present1, present2 func(after time.Duration) bool) {
	l = advance(nil, []Decl[string]{decl(1, Current)}, nil, start.Add(-time.Hour), w)
	l = advance(l, []Decl[string]{decl(2, Current)}, nil, start, w)
	at := func(b byte) func(time.Duration) bool {
		return func(after time.Duration) bool { return present(l, id(b), start.Add(after)) != 0 }
	}
	return l, at(1), at(2)
}

// TestP2_SlidingWindowWaitsForTheNewToken: uses of the old token do not open the window,
// so that a sender that only changes when it restarts keeps its access until then.
func TestP2_SlidingWindowWaitsForTheNewToken(t *testing.T) {
	t.Parallel()
	l, old, renewed := switched(sliding)
	if !l.Entries[1].Waiting() || !old(9*time.Minute) {
		t.Fatal("the old credential is refused before the first use of the new one")
	}
	if !renewed(9 * time.Minute) {
		t.Fatal("the new credential is refused")
	}
	if got, want := l.Entries[1].Deadline(start), start.Add(10*time.Minute); !got.Equal(want) {
		t.Errorf("deadline %s, want the cap, %s, which comes first", got, want)
	}
	if !old(10*time.Minute-1) || old(10*time.Minute) {
		t.Error("the old credential does not end at the cap")
	}
}

func TestP2_SlidingWindowOpensAtFirstUseAndSlides(t *testing.T) {
	t.Parallel()
	l, old, renewed := switched(sliding)
	if !l.Entries[0].Opens() {
		t.Fatal("a use of the current credential would open nothing")
	}
	renewed(2 * time.Minute)
	if l.Entries[0].Opens() || l.Entries[1].Waiting() {
		t.Error("still waiting after the first use")
	}
	renewed(2*time.Minute + 30*time.Second) // the new one renews nothing
	if got, want := l.Entries[1].Deadline(start), start.Add(3*time.Minute); !got.Equal(want) {
		t.Fatalf("deadline %s, want %s", got, want)
	}
	if !old(3*time.Minute - 1) {
		t.Fatal("refused 1 ns before its deadline")
	}
	if got, want := l.Entries[1].Deadline(start), start.Add(4*time.Minute-1); !got.Equal(want) {
		t.Fatalf("deadline after a use %s, want %s", got, want)
	}
	if old(4*time.Minute - 1) {
		t.Error("accepted at its deadline")
	}
	if old(3 * time.Minute) {
		t.Error("a refused credential is accepted again")
	}
}

// TestP2_NoUseMovesADeadlineBack presents uses out of order, as two cores do.
func TestP2_NoUseMovesADeadlineBack(t *testing.T) {
	t.Parallel()
	l, old, renewed := switched(sliding)
	renewed(0)
	old(50 * time.Second)
	want := l.Entries[1].Deadline(start)
	old(20 * time.Second)
	old(50*time.Second + 999*time.Millisecond) // within the grain
	if got := l.Entries[1].Deadline(start); !got.Equal(want) {
		t.Errorf("deadline went from %s to %s", want, got)
	}
}

func TestSlidingGrainFitsAShortOverlap(t *testing.T) {
	t.Parallel()
	_, old, renewed := switched(Window{Overlap: 400 * time.Millisecond, MaxOverlap: time.Hour})
	renewed(0)
	for after := time.Duration(0); after < 10*time.Second; after += 90 * time.Millisecond {
		if !old(after) {
			t.Fatalf("a credential in continuous use was refused after %s", after)
		}
	}
}

// TestSuccessorsOpenWindows: after two rotations, a use of the middle credential opens the
// window of the first one, and not its own.
func TestSuccessorsOpenWindows(t *testing.T) {
	t.Parallel()
	l := advance(nil, []Decl[string]{decl(1, Current)}, nil, start, sliding)
	l = advance(l, []Decl[string]{decl(2, Current)}, nil, start.Add(time.Second), sliding)
	l = advance(l, []Decl[string]{decl(3, Current)}, nil, start.Add(2*time.Second), sliding)
	entry := func(b byte) *Entry[string] {
		for i := range l.Entries {
			if l.Entries[i].ID == id(b) {
				return &l.Entries[i]
			}
		}
		t.Fatalf("credential %d is gone", b)
		return nil
	}
	present(l, id(1), start.Add(3*time.Second))
	if !entry(1).Waiting() || !entry(2).Waiting() {
		t.Fatal("a use of the oldest opened a window")
	}
	present(l, id(2), start.Add(3*time.Second))
	if entry(1).Waiting() || !entry(2).Waiting() {
		t.Fatal("a use of the middle one must open only the window of the first")
	}
	present(l, id(3), start.Add(4*time.Second))
	if entry(2).Waiting() {
		t.Fatal("a use of the current one opened nothing")
	}
}

// TestUnchangedContentKeepsTheWindow: successive ledgers share the window.
func TestUnchangedContentKeepsTheWindow(t *testing.T) {
	t.Parallel()
	l, _, renewed := switched(sliding)
	renewed(time.Second)
	next := advance(l, []Decl[string]{decl(2, Current), decl(9, Listed)}, nil, start.Add(2*time.Second), sliding)
	if present(next, id(1), start.Add(time.Second+time.Minute)) != 0 {
		t.Error("another reload lengthened the window")
	}
	if next.Entries[0].Opens() {
		t.Error("a reload opened an open window again")
	}
}

// steppedBy returns t as seen by a process whose wall clock was changed by d after its
// start. No public function returns such a Time, so steppedBy changes the wall clock
// reading inside the Time.
func steppedBy(t time.Time, d time.Duration) time.Time {
	type clocks struct {
		wall uint64 // 1 bit monotonic, 33 bits seconds, 30 bits nanoseconds
		ext  int64
		loc  *time.Location
	}
	c := (*clocks)(unsafe.Pointer(&t))
	c.wall += uint64(d/time.Second) << 30
	return t
}

func TestSteppedByDoesWhatItSays(t *testing.T) {
	t.Parallel()
	now := time.Now()
	for _, d := range []time.Duration{time.Hour, -time.Hour} {
		later := steppedBy(now.Add(time.Second), d)
		if got := later.Sub(now); got != time.Second {
			t.Fatalf("monotonic difference %s, want 1s", got)
		}
		if got := later.Round(0).Sub(now.Round(0)); got != time.Second+d {
			t.Fatalf("wall difference %s, want %s", got, time.Second+d)
		}
	}
}

// TestP2_ClockStepsNeitherLengthenNorRevive: no change of the wall clock makes a window
// last longer, or revives a credential that has ended.
func TestP2_ClockStepsNeitherLengthenNorRevive(t *testing.T) {
	t.Parallel()
	begin := time.Now()
	until := begin.Add(time.Minute).Round(0)
	declared := []Decl[string]{decl(2, Current), {ID: id(1), Slot: Previous, Until: until}}

	t.Run("remembered", func(t *testing.T) {
		t.Parallel()
		w := Window{Overlap: time.Minute}
		l := advance(nil, []Decl[string]{decl(1, Current)}, nil, begin, w)
		l = advance(l, []Decl[string]{decl(2, Current)}, nil, begin, w)
		for _, step := range []time.Duration{-time.Hour, 0, time.Hour} {
			if slotOf(l, id(1), steppedBy(begin.Add(59*time.Second), step)) != Previous {
				t.Errorf("clock set by %s: refused before the window ended", step)
			}
			if slotOf(l, id(1), steppedBy(begin.Add(time.Minute), step)) != 0 {
				t.Errorf("clock set by %s: accepted after the window ended", step)
			}
			want := begin.Add(time.Minute + step)
			if got := l.Entries[1].Deadline(steppedBy(begin.Add(time.Second), step)); got.Sub(want.Round(0)).Abs() > 0 {
				t.Errorf("clock set by %s: deadline %s, want %s by the current clock", step, got, want)
			}
		}
	})
	t.Run("declared, clock set back", func(t *testing.T) {
		t.Parallel()
		l := advance(nil, declared, nil, begin, Window{})
		if slotOf(l, id(1), steppedBy(begin.Add(59*time.Second), -time.Hour)) != Previous {
			t.Error("refused before its deadline")
		}
		if slotOf(l, id(1), steppedBy(begin.Add(time.Minute), -time.Hour)) != 0 {
			t.Error("a clock that was set back lengthened the window by an hour")
		}
		if got, want := l.Entries[1].Deadline(steppedBy(begin, -time.Hour)), until.Add(-time.Hour); got.Sub(want).Abs() > 0 {
			t.Errorf("deadline %s, want %s by the current clock", got, want)
		}
	})
	t.Run("declared, clock set forward to the deadline", func(t *testing.T) {
		t.Parallel()
		l := advance(nil, declared, nil, begin, Window{})
		if slotOf(l, id(1), steppedBy(begin.Add(30*time.Second), 29*time.Second)) != Previous {
			t.Error("refused before its declared deadline")
		}
		if slotOf(l, id(1), steppedBy(begin.Add(30*time.Second), 30*time.Second)) != 0 {
			t.Error("accepted at its declared deadline")
		}
	})
	t.Run("declared, clock set forward and back", func(t *testing.T) {
		t.Parallel()
		l := advance(nil, declared, nil, begin, Window{})
		if present(l, id(1), steppedBy(begin.Add(time.Second), time.Hour)) != 0 {
			t.Error("accepted past its declared deadline")
		}
		if present(l, id(1), begin.Add(2*time.Second)) != 0 {
			t.Error("setting the clock back revived a refused credential")
		}
		l = advance(l, append(declared, decl(7, Listed)), nil, begin.Add(3*time.Second), Window{})
		if present(l, id(1), begin.Add(3*time.Second)) != 0 {
			t.Error("reading the same declaration again revived it")
		}
		later := []Decl[string]{decl(2, Current), {ID: id(1), Slot: Previous, Until: until.Add(time.Second)}}
		l = advance(l, later, nil, begin.Add(4*time.Second), Window{})
		if present(l, id(1), begin.Add(4*time.Second)) != Previous {
			t.Error("a new declaration with a later deadline has no effect")
		}
	})
	t.Run("declared, ended unseen, clock set back", func(t *testing.T) {
		t.Parallel()
		l := advance(nil, declared, nil, begin, Window{})
		l = advance(l, append(declared, decl(7, Listed)), nil, begin.Add(2*time.Minute), Window{})
		for i := range 3 * maxEnded { // nothing that others end may push it out
			other := Decl[string]{ID: ID{byte(i), byte(i >> 8), 1}, Slot: Current}
			l = advance(l, []Decl[string]{other, declared[1]}, nil, begin.Add(2*time.Minute), Window{})
		}
		if slotOf(l, id(1), steppedBy(begin.Add(3*time.Minute), -time.Hour)) != 0 {
			t.Error("accepted again")
		}
		l = advance(l, declared, nil, steppedBy(begin.Add(3*time.Minute), -time.Hour), Window{})
		if slotOf(l, id(1), steppedBy(begin.Add(3*time.Minute), -time.Hour)) != 0 {
			t.Error("a reload after the clock was set back revived it")
		}
	})
	t.Run("declared, ended, gone and back", func(t *testing.T) {
		t.Parallel()
		for name, between := range map[string]func(l *Ledger[string], at time.Time) *Ledger[string]{
			"absent": func(l *Ledger[string], at time.Time) *Ledger[string] {
				return advance(l, []Decl[string]{decl(2, Current)}, nil, at, Window{})
			},
			"revoked": func(l *Ledger[string], at time.Time) *Ledger[string] {
				return advance(l, declared, []ID{id(1)}, at, Window{})
			},
			"revoked by hand": func(l *Ledger[string], _ time.Time) *Ledger[string] { return l.Revoke(id(1)) },
		} {
			l := advance(nil, declared, nil, begin, Window{})
			if present(l, id(1), begin.Add(2*time.Minute)) != 0 {
				t.Fatal("accepted after its deadline")
			}
			l = between(l, begin.Add(2*time.Minute))
			back := steppedBy(begin.Add(3*time.Minute), -time.Hour)
			l = advance(l, declared, nil, back, Window{})
			if present(l, id(1), back) != 0 {
				t.Errorf("%s in between: revived by a clock that was set back", name)
			}
		}
	})
	t.Run("sliding", func(t *testing.T) {
		t.Parallel()
		l := advance(nil, []Decl[string]{decl(1, Current)}, nil, begin, sliding)
		l = advance(l, []Decl[string]{decl(2, Current)}, nil, begin, sliding)
		present(l, id(2), steppedBy(begin.Add(time.Second), time.Hour))
		if present(l, id(1), steppedBy(begin.Add(30*time.Second), -time.Hour)) != Previous {
			t.Error("refused before its deadline")
		}
		if slotOf(l, id(1), steppedBy(begin.Add(91*time.Second), -2*time.Hour)) != 0 {
			t.Error("accepted after its deadline")
		}
	})
}

// TestP2_OnceRefusedNeverAcceptedAgain lets many goroutines present the old credential
// around its deadline, each with a time that it read somewhat earlier. After the first
// refusal, no later verification is accepted.
func TestP2_OnceRefusedNeverAcceptedAgain(t *testing.T) {
	t.Parallel()
	rounds := 300
	if testing.Short() {
		rounds = 50
	}
	for round := range rounds {
		l, _, renewed := switched(Window{Overlap: 10 * time.Millisecond, MaxOverlap: time.Hour})
		renewed(0)
		var clock atomic.Int64 // what everybody's clock shows
		var refused atomic.Bool
		var wrong atomic.Int64
		var all sync.WaitGroup
		for g := range 4 {
			all.Go(func() {
				r := rand.New(rand.NewPCG(uint64(round), uint64(g)))
				for range 200 {
					after := refused.Load()
					now := start.Add(time.Duration(clock.Add(r.Int64N(int64(4 * time.Millisecond)))))
					if present(l, id(1), now) == 0 {
						refused.Store(true)
					} else if after {
						wrong.Add(1)
					}
				}
			})
		}
		all.Wait()
		if n := wrong.Load(); n > 0 {
			t.Fatalf("round %d: accepted %d times after it was refused", round, n)
		}
	}
}

func TestAcceptAllocatesNothing(t *testing.T) {
	l, _, _ := switched(sliding)
	now := start
	if n := testing.AllocsPerRun(100, func() {
		now = now.Add(time.Second)
		l.Entries[0].Accept(now)
		l.Entries[1].Accept(now)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// TestSlidingForEver: a window of the maximum Duration does not overflow.
func TestSlidingForEver(t *testing.T) {
	t.Parallel()
	_, old, renewed := switched(Window{Overlap: math.MaxInt64, MaxOverlap: math.MaxInt64})
	if renewed(time.Hour); !old(2 * time.Hour) {
		t.Error("refused right after the first use of the new one")
	}
}
