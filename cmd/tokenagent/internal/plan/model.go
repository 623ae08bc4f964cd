package plan

import "math"

// The protocols are how a rotation is done.
const (
	staged  = "staged"  // stage, wait, promote, wait for the overlap, retire
	now     = "now"     // the same in one step, without a wait before the promotion
	replace = "replace" // write the new token over the old one, which each receiver remembers
)

// The kinds of senders are how they get the new token.
const (
	restarted = "restart"   // a process that reads its token when it starts, as daprd does
	execed    = "exec"      // a program that tokenagent exec restarts after it has read the source
	transport = "transport" // a client of the library, which reads the source
)

// deadlineRounding is how much earlier a declared deadline may be, in seconds: it is
// written in RFC 3339, without fractions.
const deadlineRounding = 1

// shortestSliding is the shortest overlap that slides, in seconds.
const shortestSliding = 1

// A model is everything that the times of a rotation depend on. Times are in seconds.
// Time 0 is when the new token becomes current in the source; it is staged at -W. The
// limits follow from
//
//	D  how long a receiver takes to publish a change
//	C  when a sender changes over to the new token
//	E  when its last request with the old token arrives: C and what is in flight
//	S  the clock skew: the largest difference between two clocks
//
// The stage wait W. A receiver accepts the new token from D - W on, and the first sender
// sends it at Cmin. W is measured with the clocks of two machines. So
//
//	W = Dmax - Cmin + S, or 0 if Dmax <= Cmin.
//
// Newcomers read the new token at once: with them Cmin is 0. The delay R of exec begins
// when exec sees the token, staged or not: if Dmax <= Cmin + R, any W is safe. Otherwise
// R does not count, since a long W uses it up. Without staging, Dmax <= Cmin is the
// only safe case.
//
// The overlap O with a declared deadline (staged, now). A receiver accepts the old token
// until its own clock shows the deadline, whenever it has read it. So
//
//	O = Emax + S + deadlineRounding.
//
// If senders read the source, Cmax contains their own Dmax, and with exec what the stage
// wait has left of the delay: max(0, R - (W - S)).
//
// The overlap that receivers remember (replace). It begins when a receiver reads the
// change, so the first one decides, and only its own clock counts:
//
//	O = Emax - Dmin.
//
// The sliding overlap. It begins with the first use of the new token that the receiver
// accepts, and ends at the latest M after it read the change. Without any renewal,
//
//	O = Emax - max(Dmin, Cmin)    M = Emax - Dmin,
//
// and neither is less than shortestSliding, since an overlap of 0 does not exist. A
// receiver that restarts without a state file forgets the overlap, and a new one never
// knew the old token; the model has neither.
//
// If a distribution has no upper limit, no time is safe. For a risk p that a rotation
// refuses anything, each of N receivers may exceed Dmax with probability p/2N, and each
// of M senders Cmax with p/2M: by the union bound, p at most.
type model struct {
	Protocol  string `json:"-"`
	Receivers int    `json:"receivers"`
	Senders   int    `json:"senders"`
	Newcomers int    `json:"newcomers"` // more senders, which start just after the change
	path
	Sender        string  `json:"sender"`
	restart       dist    // until a sender has restarted: from the change on, with exec from the end of the delay on
	SenderRestart string  `json:"sender_restart"`
	RestartDelay  float64 `json:"restart_delay_seconds"` // of tokenagent exec
	InFlight      float64 `json:"in_flight_seconds"`     // from a sender's change to its last request with the old token
	ClockSkew     float64 `json:"clock_skew_seconds"`
	RequestRate   float64 `json:"request_rate"` // requests a second from each sender, to random receivers
	Sliding       bool    `json:"sliding"`      // with replace: the overlap slides
	Risk          float64 `json:"risk"`
}

func (m *model) readsSource() bool { return m.Sender != restarted }

// bounded reports whether everything has an upper limit.
func (m *model) bounded() bool { return m.delivery.bounded() && m.restart.bounded() }

// firstChange returns Cmin, without the delay of exec.
func (m *model) firstChange() float64 {
	switch {
	case m.Newcomers > 0:
		return 0
	case m.readsSource():
		return m.path.shortest() + m.restart.shortest
	default:
		return m.restart.shortest
	}
}

// lastUse returns Emax after a stage wait, or what a sender exceeds with probability q.
func (m *model) lastUse(q, waited float64) float64 {
	if m.readsSource() && !m.delivery.bounded() && !m.restart.bounded() {
		q /= 2 // one half for each
	}
	last := m.restart.longest(q) + m.InFlight
	if m.readsSource() {
		if m.Sender == execed && m.Protocol == staged && !m.delivery.bounded() {
			q /= 2 // the staging is delivered too
		}
		last += m.path.longest(q) + max(0, m.RestartDelay-waited)
	}
	return last
}

// times are what the operator chooses. MaxOverlap is +Inf if the overlap does not slide.
type times struct {
	StageWait  seconds `json:"stage_wait_seconds"`
	Overlap    seconds `json:"overlap_seconds"`
	MaxOverlap seconds `json:"max_overlap_seconds"`
}

// limits are the shortest safe times; +Inf if there is none.
type limits struct {
	Propagation seconds `json:"propagation_seconds"` // Dmax
	LastUse     seconds `json:"last_use_seconds"`    // Emax
	times
	unstaged bool // a receiver can be sent a token that it cannot know yet, whatever the times
}

// limits returns the limits for a risk; 0 excludes every refusal.
func (m *model) limits(risk float64) limits {
	knows, first := m.path.longest(risk/2/float64(m.Receivers)), m.firstChange()
	l := limits{Propagation: seconds(knows)}
	known := knows <= first || m.Newcomers == 0 && knows <= first+m.RestartDelay
	switch {
	case m.Protocol != staged:
		l.unstaged = !known
	case !known:
		l.StageWait = seconds(knows - first + m.ClockSkew)
	}
	return m.overlaps(l, risk, l.StageWait)
}

// overlaps returns l with the overlaps for another stage wait.
func (m *model) overlaps(l limits, risk float64, wait seconds) limits {
	last, shortest := m.lastUse(risk/2/float64(m.Senders), max(0, float64(wait)-m.ClockSkew)), m.path.shortest()
	overlap, maxOverlap := max(0, last-shortest), math.Inf(1)
	switch {
	case m.Protocol != replace:
		overlap = last + m.ClockSkew + deadlineRounding
	case m.Sliding:
		begins := m.firstChange()
		if m.Newcomers == 0 {
			begins += m.RestartDelay
		}
		overlap = max(shortestSliding, last-max(shortest, begins))
		maxOverlap = max(overlap, last-shortest)
	}
	l.LastUse, l.Overlap, l.MaxOverlap = seconds(last), seconds(overlap), seconds(maxOverlap)
	return l
}

// allow reports whether the times t are safe.
func (l *limits) allow(t times) bool {
	return !l.unstaged && t.StageWait >= l.StageWait && t.Overlap >= l.Overlap && t.MaxOverlap >= l.MaxOverlap
}

// roundUp rounds to 5 seconds up to 10 minutes, to minutes up to 4 hours, then to 10 minutes.
func roundUp(s seconds) seconds {
	step := 5.0
	switch {
	case s > 4*3600:
		step = 600
	case s > 600:
		step = 60
	}
	return seconds(step * math.Ceil(float64(s)/step))
}
