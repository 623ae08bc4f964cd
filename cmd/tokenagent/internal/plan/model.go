package plan

import "math"

// The protocols of a rotation.
const (
	staged  = "staged"  // stage, wait, promote, wait for the overlap, retire
	now     = "now"     // the same in one step, without a wait before the promotion
	replace = "replace" // write the new token over the old one, which each receiver remembers
)

// The kinds of senders, by how they get the new token.
const (
	restarted = "restart"   // a process that reads its token when it starts, as daprd does
	underExec = "exec"      // a program that tokenagent exec restarts after it has read the source
	transport = "transport" // a client of the library, which reads the source
)

const (
	deadlineRounding = 1 // a declared deadline is rounded down to a second
	shortestSliding  = 1 // an overlap of 0 cannot slide
)

// A model holds everything that the times of a rotation depend on. Times are in seconds since
// the new token became current in the source. docs/rotation.md explains the limits and what
// the model leaves out.
type model struct {
	Protocol  string `json:"-"`
	Receivers int    `json:"receivers"`
	Senders   int    `json:"senders"`
	Newcomers int    `json:"newcomers"` // more senders, which start just after the change
	path
	Sender         string  `json:"sender"`
	restart        dist    // from the change until a sender has restarted, with exec from the end of the delay
	SenderRestart  string  `json:"sender_restart"`
	restartAssumed bool    // --sender-restart is not given
	RestartDelay   float64 `json:"restart_delay_seconds"` // of tokenagent exec
	InFlight       float64 `json:"in_flight_seconds"`     // from a sender's change to its last request with the old token
	ClockSkew      float64 `json:"clock_skew_seconds"`
	RequestRate    float64 `json:"request_rate"` // requests a second from each sender, to random receivers
	Sliding        bool    `json:"sliding"`      // with replace: the overlap slides
	Risk           float64 `json:"risk"`
}

func (m *model) readsSource() bool { return m.Sender != restarted }

// bounded reports whether everything has an upper limit.
func (m *model) bounded() bool { return m.delivery.bounded() && m.restart.bounded() }

// firstChange returns when the first sender sends the new token, without and with the delay
// of exec.
func (m *model) firstChange() (undelayed, delayed float64) {
	if m.Newcomers > 0 {
		return 0, 0
	}
	first := m.restart.shortest
	if m.readsSource() {
		first += m.path.shortest()
	}
	return first, first + m.RestartDelay
}

// lastUse returns when the last request with the old token arrives, after a stage wait. If
// there is no upper limit, it returns what a sender exceeds with probability q.
func (m *model) lastUse(q, wait float64) float64 {
	if !m.readsSource() {
		return m.restart.longest(q) + m.InFlight
	}
	// The times without an upper limit share q.
	if !m.delivery.bounded() && !m.restart.bounded() {
		q /= 2
	}
	last := m.restart.longest(q) + m.InFlight
	if m.Sender == underExec && m.Protocol == staged && !m.delivery.bounded() {
		q /= 2 // the staged token is delivered too
	}
	// The delay of exec begins when exec sees the staged token.
	delay := max(0, m.RestartDelay-max(0, wait-m.ClockSkew))
	return last + (m.path.longest(q) + delay)
}

// times are the times that the operator chooses. MaxOverlap is +Inf if the overlap does not
// slide.
type times struct {
	StageWait  seconds `json:"stage_wait_seconds"`
	Overlap    seconds `json:"overlap_seconds"`
	MaxOverlap seconds `json:"max_overlap_seconds"`
}

// limits are the shortest safe times; +Inf if no time is safe.
type limits struct {
	Propagation seconds `json:"propagation_seconds"` // until every receiver knows a change
	LastUse     seconds `json:"last_use_seconds"`    // until the last request with the old token
	times
	unstaged bool // with any times, a receiver may be sent a token that it does not know yet
}

// limits returns the limits for a risk that a rotation refuses anything; with 0 it refuses
// nothing. The overlaps are those after a stage wait, or if it is negative after the
// shortest safe one.
func (m *model) limits(risk float64, wait seconds) limits {
	// By the union bound, all receivers together exceed theirs with half of the risk, and
	// all senders with the other half.
	shortest, longest := m.path.shortest(), m.path.longest(risk/2/float64(m.Receivers))
	first, delayed := m.firstChange()
	l := limits{Propagation: seconds(longest), times: times{MaxOverlap: seconds(math.Inf(1))}}
	switch known := longest <= delayed; { // before the first sender sends the new token
	case m.Protocol != staged:
		l.unstaged = !known
	case !known: // a long wait uses up the delay of exec, so the delay does not count
		l.StageWait = seconds(longest - first + m.ClockSkew)
	}
	if wait < 0 {
		wait = l.StageWait
	}
	last := m.lastUse(risk/2/float64(m.Senders), float64(wait))
	l.LastUse = seconds(last)
	switch {
	case m.Protocol != replace: // until the deadline, by the receiver's clock
		l.Overlap = seconds(last + m.ClockSkew + deadlineRounding)
	case m.Sliding: // from the first use of the new token, if nothing renews it
		l.Overlap = seconds(max(shortestSliding, last-max(shortest, delayed)))
		l.MaxOverlap = max(l.Overlap, seconds(last-shortest))
	default: // from when the first receiver reads the change
		l.Overlap = seconds(max(0, last-shortest))
	}
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
