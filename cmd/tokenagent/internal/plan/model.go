package plan

import "math"

// A protocol is how a rotation is done.
type protocol string

const (
	// staged is stage, wait, promote, wait for the overlap, retire. The deadline
	// of the old token is declared in the source, in the operator's time.
	staged protocol = "staged"
	// now is all of it in one step: no receiver knows the new token beforehand.
	// The deadline is declared as with staged.
	now protocol = "now"
	// replace writes the new token over the old one. Each agent remembers the old
	// one by itself, from when it has read the new one.
	replace protocol = "replace"
)

// A sender is how senders come by the new token.
type sender string

const (
	// restart: a process reads the token when it starts, so somebody restarts it
	// after the change: a rollout, or a maintenance time. daprd is one.
	restart sender = "restart"
	// execed: tokenagent exec reads the source and restarts the program.
	execed sender = "exec"
	// transport: the library's clients read the source and need no restart.
	transport sender = "transport"
)

// deadlineGrain is how much earlier a declared deadline may lie than was asked
// for, in seconds: RFC 3339 as it is commonly written has no fractions.
const deadlineGrain = 1

// slidingLeast is the shortest overlap of a window that slides, in seconds: uses
// are told apart no finer (see renewalGrain).
const slidingLeast = 1

// A model is everything that the time of a rotation depends on. Times are in
// seconds. It is immutable and safe for concurrent use.
//
// Time 0 is when the new token becomes current in the source: the promotion, or
// the replacement. Staging is at -W. What follows is derived for
//
//	Dₛ, Dₚ  how long a receiver takes to publish the staging, the promotion (least d, most D)
//	C       when a sender changes over: sends the new token from then on (least c, most Cmax)
//	E       when the last request with the old token arrives: C + what is in flight
//	S       the clock skew: the largest difference between any two clocks
//
// # The stage wait
//
// A receiver accepts the new token from min(Dₛ - W, Dₚ), and it is first sent
// at c. So with W ≥ D - c nothing is refused. The operator measures W: with two
// machines' clocks, it may be short by S. Hence
//
//	W = D - c + S, or 0 where D ≤ c.
//
// Under tokenagent exec, c has the delay R in it, which counts from when it saw
// the token, staged or not: D ≤ c + R is safe with any W. Else the delay is not
// counted on, since a long W uses it up.
//
// c is 0 where a sender may start by chance just after the change (newcomers): a
// crash, or a scale-up, reads the new token at once, and whatever delays the
// others does not delay it. Without staging, D ≤ c is the only safety there is.
//
// # The overlap with a declared deadline (staged, now)
//
// A receiver accepts the old token until max(Dₚ, T), where T is the deadline by
// its own clock: no earlier than O - S - deadlineGrain. Hence
//
//	O = Emax + S + deadlineGrain.
//
// The spread of the propagation is not in it, since the deadline is one moment
// for all receivers, whenever they read it; but where senders read the source
// themselves, Cmax contains their own propagation. With the delay R of exec that
// is max(Dₚ, min(Dₛ - W, Dₚ) + R) ≤ D + max(0, R - W), W being what was really
// waited, W - S at least: the delay passes while the staging does. O is no less
// where d is long, since a receiver that starts in between reads the promotion
// at once.
//
// # The overlap that agents remember (replace)
//
// A receiver accepts the old token until Dₚ + O, measured by one clock, so
// without skew. The first receiver to hear of the change is the first to forget:
//
//	O = Emax - d.
//
// # The sliding overlap (replace with a cap, MaxOverlap)
//
// The window opens at the first use of the new token that the receiver accepts,
// no earlier than max(d, c), is renewed by each use of the old one, and ends no
// later than the cap M after Dₚ. Counting on no renewal:
//
//	O = Emax - max(d, c)    M = Emax - d.
//
// Neither is less than slidingLeast, even where nothing of the old token comes
// after the first use of the new one: an overlap of 0 is no window at all, and
// what opens with that first use would have ended before it.
//
// Both are remembered by a process: an agent that restarts in the window without
// a state file forgets them (promise 8), and one that is new never knew the old
// token, which is not modelled.
//
// # Without limits
//
// Where a distribution has no upper limit, its Cmax or D has none either, and
// nothing is safe. For a risk p that a rotation refuses anything, each of the N
// receivers may exceed D, and each of the M senders Cmax, with a chance of
// p/2N and p/2M: by the union bound they add up to p at most.
type model struct {
	protocol  protocol
	receivers int
	senders   int
	newcomers int // senders that start by chance just after the change
	reach     propagation
	sender    sender
	restart   dist    // of sender: until it has restarted; from the change on, with exec from its delay on
	delay     float64 // of tokenagent exec, before it restarts
	inFlight  float64 // from a sender's change-over until the last request with the old token is verified
	skew      float64
	rate      float64 // requests a second of each sender, to receivers chosen at random
	sliding   bool    // with replace: the window slides
}

// readsSource reports whether senders come by the new token through the source,
// as receivers do.
func (m *model) readsSource() bool { return m.sender != restart }

// bounded reports whether everything has an upper limit.
func (m *model) bounded() bool {
	return m.reach.delivery.bounded() && m.restart.bounded()
}

// firstChange returns c above, where nothing was staged or it does not count.
func (m *model) firstChange() float64 {
	switch {
	case m.newcomers > 0:
		return 0
	case m.readsSource():
		return m.reach.least() + m.restart.least()
	default:
		return m.restart.least()
	}
}

// lastUse returns Emax above, when the staging was waited before: exactly with
// q = 0, and else what a sender exceeds with a chance of q at most.
func (m *model) lastUse(q, waited float64) float64 {
	if m.readsSource() && !m.reach.delivery.bounded() && !m.restart.bounded() {
		q /= 2 // one half for each of the two
	}
	last := m.restart.limit(q) + m.inFlight
	if m.readsSource() {
		if m.sender == execed && m.protocol == staged && !m.reach.delivery.bounded() {
			q /= 2 // the staging has its own way
		}
		last += m.reach.most(q) + max(0, m.delay-waited)
	}
	return last
}

// Limits are the shortest safe times of a model, in seconds; +Inf where there is
// none.
type limits struct {
	reach      float64 // D: until the last receiver knows
	lastUse    float64 // Emax: until the old token was last used
	wait       float64 // of stage before promote; 0 where the protocol has none
	overlap    float64
	maxOverlap float64 // with a sliding window; else 0
	// unstaged is set where receivers may be sent a token that they cannot know
	// yet, and no time helps.
	unstaged bool
}

// limits returns the closed form derived above, for a risk p of any refusal in
// a rotation. With p = 0 it is what the simulation must never exceed. The
// overlap is for the stage wait that is the limit.
func (m *model) limits(p float64) limits {
	l := limits{reach: m.reach.most(p / 2 / float64(m.receivers))}
	first := m.firstChange()
	known := l.reach <= first || m.newcomers == 0 && l.reach <= first+m.delay
	switch {
	case m.protocol != staged:
		l.unstaged = !known
	case !known:
		l.wait = l.reach - first + m.skew
	}
	return m.overlaps(l, p, l.wait)
}

// overlaps returns l with the overlap for another stage wait.
func (m *model) overlaps(l limits, p, wait float64) limits {
	l.lastUse = m.lastUse(p/2/float64(m.senders), max(0, wait-m.skew))
	least := m.reach.least()
	switch {
	case m.protocol != replace:
		l.overlap = l.lastUse + m.skew + deadlineGrain
	case m.sliding:
		opens := m.firstChange()
		if m.newcomers == 0 {
			opens += m.delay
		}
		l.overlap = max(slidingLeast, l.lastUse-max(least, opens))
		l.maxOverlap = max(l.overlap, l.lastUse-least)
	default:
		l.overlap = max(0, l.lastUse-least)
	}
	return l
}

// roundUp returns the next duration, in seconds, that one can say on the phone:
// whole 5 s below 10 minutes, whole minutes below 4 hours, else whole 10 minutes.
func roundUp(seconds float64) float64 {
	step := 5.0
	switch {
	case seconds > 4*3600:
		step = 600
	case seconds > 600:
		step = 60
	}
	return step * math.Ceil(seconds/step)
}
