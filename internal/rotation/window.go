package rotation

import (
	"cmp"
	"math"
	"slices"
	"sync/atomic"
	"time"
)

// A window is the time that a superseded credential has left. Its terms are
// fixed when it is made; what moves is one atomic number. The ledgers that
// follow share it. The nil window has no end.
//
// Its times carry the monotonic clock where the caller's do (package time,
// "Monotonic Clocks"), so that a step of the wall clock neither lengthens nor
// shortens what is measured from a moment. A deadline that was declared is a
// wall-clock time, so it ends by whichever clock gets there first: else a clock
// that was set back would give a token the time again that it has had.
type window struct {
	from    time.Time     // when it was granted
	length  time.Duration // from then on, at the most
	until   time.Time     // as declared, without monotonic clock; zero where it was not
	overlap time.Duration // positive where the window slides
	order   int64         // of the grants: the later one is greater

	// state is when the window was last renewed, in nanoseconds from the grant;
	// or one of the two below. An end is entered here by whoever sees it first,
	// so that none who looked at the clock before can renew it afterwards.
	state atomic.Int64
}

const (
	waiting = math.MinInt64
	over    = math.MaxInt64
)

// window returns that of a credential whose place another took at now, in the
// order-th ledger.
func (w Window) lease(now time.Time, order uint64) *window {
	l := &window{from: now, length: w.longest(), order: int64(order)}
	if w.slides() {
		l.overlap = w.Overlap
		l.state.Store(waiting)
	}
	return l
}

// declaredLease returns that of a credential which is declared previous until
// then, read at now.
func declaredWindow(until, now time.Time) *window {
	until = until.Round(0)
	return &window{from: now, length: until.Sub(now), until: until} // Sub saturates at 292 years
}

// end returns when the window ends, given its state, by the clock of from.
func (l *window) end(state int64) time.Time {
	// Written so that nothing overflows where the two are as good as for ever.
	if renewed := time.Duration(state); l.overlap > 0 && state != waiting && renewed < l.length-l.overlap {
		return l.from.Add(renewed + l.overlap)
	}
	return l.from.Add(l.length)
}

func (l *window) liveIn(state int64, now time.Time) bool {
	return state != over && now.Before(l.end(state)) && (l.until.IsZero() || now.Before(l.until))
}

func (l *window) live(now time.Time) bool { return l == nil || l.liveIn(l.state.Load(), now) }

// accept reports whether the window has not ended at now, and renews it.
func (l *window) accept(now time.Time) bool {
	if l == nil {
		return true
	}
	for {
		state := l.state.Load()
		if !l.liveIn(state, now) {
			if state == over || l.state.CompareAndSwap(state, over) {
				return false
			}
			continue
		}
		n := int64(now.Sub(l.from))
		if l.overlap <= 0 || state == waiting || n < state+int64(l.grain()) {
			return true
		}
		if l.state.CompareAndSwap(state, n) {
			return true
		}
	}
}

// grain is how far apart two renewals are at least. Where the overlap is hardly
// longer than that of a Use, it is less: a sender in constant use must not fall
// out between two of them.
func (l *window) grain() time.Duration { return min(grain, l.overlap/4) }

// open begins a window that waited for the use that is made at now.
func (l *window) open(now time.Time) {
	l.state.CompareAndSwap(waiting, int64(now.Sub(l.from)))
}

// ended reports whether somebody has seen the end.
func (l *window) ended() bool { return l != nil && l.state.Load() == over }

func (l *window) waiting() bool {
	return l != nil && l.overlap > 0 && l.state.Load() == waiting
}

func (l *window) deadline(now time.Time) time.Time {
	switch {
	case l == nil:
		return time.Time{}
	case l.until.IsZero():
		return onWall(l.end(l.state.Load()), now)
	}
	if end := onWall(l.from.Add(l.length), now); l.length < math.MaxInt64 && end.Before(l.until.Add(-stepped)) {
		return end
	}
	return l.until
}

func (l *window) cap(now time.Time) time.Time {
	if l == nil || l.overlap <= 0 {
		return time.Time{}
	}
	return onWall(l.from.Add(l.length), now)
}

// stepped is by how much the wall clock must be off for us to say that it was
// set. Less is the noise of reading two clocks.
const stepped = time.Second

// onWall returns t, which may carry a wall clock that was set since, by the wall
// clock of now.
func onWall(t, now time.Time) time.Time {
	as := now.Add(t.Sub(now)).Round(0)
	t = t.Round(0)
	if d := as.Sub(t); -stepped < d && d < stepped {
		return t
	}
	return as
}

// An activation is the windows that wait for the use of one credential.
type activation struct {
	done   atomic.Bool // so that a use costs the same however many there were
	leases []*window
}

func (o *activation) pending() bool { return o != nil && !o.done.Load() }

func (o *activation) use(now time.Time) {
	if !o.pending() {
		return
	}
	for _, l := range o.leases {
		l.open(now)
	}
	o.done.Store(true)
}

// openings tells each entry which windows wait for its use: the current one
// that of every credential before it, and one that was current in between those
// of the credentials before that.
func (l *Ledger[V]) openings() {
	var all []*window
	for i := range l.Entries {
		if e := &l.Entries[i]; e.window.waiting() {
			all = append(all, e.window)
		}
	}
	slices.SortFunc(all, func(a, b *window) int { return cmp.Compare(a.order, b.order) })
	for i := range l.Entries {
		e := &l.Entries[i]
		e.opens = nil
		before := len(all)
		switch {
		case e.Slot == Current:
		case e.Slot == Previous && !e.Declared:
			before, _ = slices.BinarySearchFunc(all, e.window.order, func(a *window, order int64) int { return cmp.Compare(a.order, order) })
		default:
			continue
		}
		if before > 0 {
			e.opens = &activation{leases: all[:before:before]}
		}
	}
}
