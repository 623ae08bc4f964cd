package rotation

import (
	"cmp"
	"math"
	"slices"
	"sync/atomic"
	"time"
)

// A window is the time that a superseded credential stays accepted. All fields except
// state are fixed when the window is created. Successive ledgers share the window. The
// nil window has no end.
//
// The times carry the monotonic clock if the caller's times do (see package time,
// "Monotonic Clocks"), so that a step of the wall clock neither lengthens nor shortens a
// measured duration. A declared deadline is a wall-clock time. Its window ends when either
// clock reaches the end, so that setting the clock back does not extend the life of a
// token.
type window struct {
	from    time.Time     // the time of the grant
	length  time.Duration // maximum length, counted from the grant
	until   time.Time     // declared deadline, without monotonic clock; zero if none is declared
	overlap time.Duration // positive if the window slides
	order   int64         // a later grant has a greater order

	// state is the time of the last renewal in nanoseconds since the grant, or waiting,
	// or over. The first caller that sees the end stores over, so that a concurrent
	// caller with an earlier time cannot renew the window afterwards.
	state atomic.Int64
}

const (
	waiting = math.MinInt64 // a sliding window waits for the first use of a successor
	over    = math.MaxInt64 // a caller has seen the end
)

// grant returns the window of a credential that is superseded at now, in the ledger whose
// Number is order.
func (w Window) grant(now time.Time, order uint64) *window {
	granted := &window{from: now, length: w.longest(), order: int64(order)}
	if w.slides() {
		granted.overlap = w.Overlap
		granted.state.Store(waiting)
	}
	return granted
}

// declaredWindow returns the window of a credential that is declared previous with the
// deadline until, read at now. If the earlier entry b, which may be nil, has the same
// declaration, the result is the window of b, so that a reload does not restart the
// measurement.
func declaredWindow[V any](b *Entry[V], until, now time.Time) *window {
	switch {
	case until.IsZero():
		return nil
	case b != nil && b.Declared && b.Slot == Previous && b.window != nil && b.window.until.Equal(until):
		return b.window
	default:
		until = until.Round(0)
		return &window{from: now, length: until.Sub(now), until: until} // Sub saturates at 292 years
	}
}

// end returns the end of the window in the given state, by the clock of from.
func (w *window) end(state int64) time.Time {
	// This comparison does not overflow, even for very long durations.
	if renewed := time.Duration(state); w.overlap > 0 && state != waiting && renewed < w.length-w.overlap {
		return w.from.Add(renewed + w.overlap)
	}
	return w.latestEnd()
}

// latestEnd returns the latest possible end, by the clock of from. For the nil window it
// returns a time after that of any other.
func (w *window) latestEnd() time.Time {
	if w == nil {
		return time.Unix(1<<60, 0)
	}
	return w.from.Add(w.length)
}

func (w *window) liveIn(state int64, now time.Time) bool {
	return state != over && now.Before(w.end(state)) && (w.until.IsZero() || now.Before(w.until))
}

// accept reports whether the window is live at now. If so, accept renews a sliding
// window.
func (w *window) accept(now time.Time) bool {
	for {
		state := w.state.Load()
		if !w.liveIn(state, now) {
			if state == over || w.state.CompareAndSwap(state, over) {
				return false
			}
			continue
		}
		n := int64(now.Sub(w.from))
		if w.overlap <= 0 || state == waiting || n < state+int64(w.grain()) {
			return true
		}
		if w.state.CompareAndSwap(state, n) {
			return true
		}
	}
}

// grain returns the minimum time between two renewals. It is smaller than the grain of a
// Use if the overlap is short, so that the window does not end between two renewals while
// a sender uses the credential continuously.
func (w *window) grain() time.Duration { return min(grain, w.overlap/4) }

// open starts a waiting window at now, the time of the first use of a successor.
func (w *window) open(now time.Time) {
	w.state.CompareAndSwap(waiting, int64(now.Sub(w.from)))
}

// ended reports whether a caller has seen the end of the window.
func (w *window) ended() bool { return w != nil && w.state.Load() == over }

func (w *window) waiting() bool {
	return w != nil && w.overlap > 0 && w.state.Load() == waiting
}

// clockStep is the smallest difference that counts as a step of the wall clock. A smaller
// difference is the noise of reading two clocks.
const clockStep = time.Second

// onWall converts t to the wall clock of now, which may have been set since t was read.
func onWall(t, now time.Time) time.Time {
	wall := now.Add(t.Sub(now)).Round(0)
	t = t.Round(0)
	if d := wall.Sub(t); d.Abs() < clockStep {
		return t
	}
	return wall
}

// An activation holds the windows that wait for the use of one credential.
type activation struct {
	done    atomic.Bool // set after the first use, which opens all windows
	windows []*window
}

func (a *activation) pending() bool { return a != nil && !a.done.Load() }

func (a *activation) use(now time.Time) {
	if !a.pending() {
		return
	}
	for _, w := range a.windows {
		w.open(now)
	}
	a.done.Store(true)
}

// linkActivations links each entry to the waiting windows that its use opens. A use of
// the current credential of a client opens all waiting windows of that client. A use of a
// remembered credential opens those that were granted before its own.
func (l *Ledger[V]) linkActivations() {
	byClient := make(map[string][]*window)
	for i := range l.Entries {
		if e := &l.Entries[i]; e.window.waiting() {
			byClient[e.Client] = append(byClient[e.Client], e.window)
		}
	}
	for _, windows := range byClient {
		slices.SortFunc(windows, func(a, b *window) int { return cmp.Compare(a.order, b.order) })
	}
	for i := range l.Entries {
		e := &l.Entries[i]
		e.opens = nil
		windows := byClient[e.Client]
		before := len(windows)
		switch {
		case e.Slot == Current:
		case e.Slot == Previous && !e.Declared:
			before, _ = slices.BinarySearchFunc(windows, e.window.order, func(a *window, order int64) int { return cmp.Compare(a.order, order) })
		default:
			continue
		}
		if before > 0 {
			e.opens = &activation{windows: windows[:before:before]}
		}
	}
}

// A Use records when a credential was last used. The zero Use has recorded no use. A Use
// is safe for concurrent use, and must not be copied.
type Use struct {
	last atomic.Int64 // Unix time in nanoseconds; 0 means never
}

// grain is the resolution of a recorded use. If every use were stored, all cores that
// verify would contend for one cache line.
const grain = time.Second

// Mark records a use at now, to within a second. A time before the recorded one has no
// effect.
func (u *Use) Mark(now time.Time) {
	n := now.UnixNano()
	for {
		last := u.last.Load()
		if last != 0 && n < last+int64(grain) {
			return
		}
		if u.last.CompareAndSwap(last, n) {
			return
		}
	}
}

// Last returns the time of the last use by the wall clock, to within a second. It returns
// the zero Time if the credential was never used.
func (u *Use) Last() time.Time {
	n := u.last.Load()
	if n == 0 {
		return time.Time{}
	}
	return time.Unix(0, n)
}
