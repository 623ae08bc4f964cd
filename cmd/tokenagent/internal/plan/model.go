package plan

import (
	"math"
	"math/rand/v2"
)

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

const (
	deadlineRounding = 1 // how much earlier a declared deadline may be: it has no fractions of a second
	shortestSliding  = 1 // the shortest overlap that slides, in seconds
)

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
	Sender         string  `json:"sender"`
	restart        dist    // until a sender has restarted: from the change on, with exec from the end of the delay on
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

// firstChange returns Cmin, without and with the delay of exec.
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

// lastUse returns Emax with a stage wait, or what a sender exceeds with probability q.
func (m *model) lastUse(q, wait float64) float64 {
	if m.readsSource() && !m.delivery.bounded() && !m.restart.bounded() {
		q /= 2 // one half for each
	}
	last := m.restart.longest(q) + m.InFlight
	if m.readsSource() {
		if m.Sender == execed && m.Protocol == staged && !m.delivery.bounded() {
			q /= 2 // the staging is delivered too
		}
		last += m.path.longest(q) + max(0, m.RestartDelay-max(0, wait-m.ClockSkew))
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

// limits returns the limits for a risk; 0 excludes every refusal. The overlaps are for a
// stage wait, or if that is negative for its own limit.
func (m *model) limits(risk float64, wait seconds) limits {
	shortest, longest := m.path.shortest(), m.path.longest(risk/2/float64(m.Receivers))
	first, delayed := m.firstChange()
	l := limits{Propagation: seconds(longest), times: times{MaxOverlap: seconds(math.Inf(1))}}
	switch known := longest <= delayed; {
	case m.Protocol != staged:
		l.unstaged = !known
	case !known:
		l.StageWait = seconds(longest - first + m.ClockSkew)
	}
	if wait < 0 {
		wait = l.StageWait
	}
	last := m.lastUse(risk/2/float64(m.Senders), float64(wait))
	l.LastUse = seconds(last)
	switch {
	case m.Protocol != replace:
		l.Overlap = seconds(last + m.ClockSkew + deadlineRounding)
	case m.Sliding:
		l.Overlap = seconds(max(shortestSliding, last-max(shortest, delayed)))
		l.MaxOverlap = max(l.Overlap, seconds(last-shortest))
	default:
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

// What a kubelet and an agent add, in seconds or as a part of a period.
const (
	syncJitter = 0.5 // the largest addition to a sync period (workerResyncIntervalJitterFactor)
	syncTick   = 1   // how often the kubelet looks for pods that are due
	syncWork   = 0.3 // the longest time to write the volume; 0.15 s was measured
	pollJitter = 0.1 // of a poll interval, either way
)

// A path is the way of a change to a process that reads a mounted Secret or a file.
// Times are in seconds and add up to
//
//	delivery + cache TTL + time to the next sync + work  + time to the next poll + debounce
//	           └───────────── with a kubelet ─────────┘   └── without events ──┘
type path struct {
	delivery     dist    // until the change is where the kubelet or the agent looks
	Delivery     string  `json:"delivery"`
	KubeletSync  float64 `json:"kubelet_sync_seconds"`  // the kubelet's syncFrequency; 0 without a kubelet
	CacheTTL     float64 `json:"cache_ttl_seconds"`     // of the kubelet's cache of Secrets
	PollInterval float64 `json:"poll_interval_seconds"` // 0 if the agent sees file system events
	Debounce     float64 `json:"debounce_seconds"`
}

// longest returns the longest time that the way takes. If the delivery has no
// limit, it returns what is exceeded with probability q.
func (p *path) longest(q float64) float64 {
	longest := p.delivery.longest(q)
	if p.KubeletSync > 0 {
		longest += p.CacheTTL + p.longestPeriod() + syncWork
	}
	return longest + p.PollInterval*(1+pollJitter) + p.Debounce
}

func (p *path) shortest() float64 { return p.delivery.shortest + p.Debounce }

func (p *path) longestPeriod() float64 { return p.KubeletSync*(1+syncJitter) + syncTick }

// period draws the time from one sync of a pod to the next.
func (p *path) period(r *rand.Rand) float64 {
	return p.KubeletSync*(1+syncJitter*r.Float64()) + syncTick*r.Float64()
}

// nextSync draws the time from a random moment to the pod's next sync.
func (p *path) nextSync(r *rand.Rand) float64 {
	return around(r, p.longestPeriod(), func() float64 { return p.period(r) }) * r.Float64()
}

// read draws the time that the agent takes to publish a change that it can see.
func (p *path) read(r *rand.Rand) float64 {
	if p.PollInterval <= 0 {
		return p.Debounce
	}
	interval := around(r, 1+pollJitter, func() float64 { return 1 + pollJitter*(2*r.Float64()-1) })
	return p.PollInterval*interval*r.Float64() + p.Debounce
}

// around draws the interval around a random moment: of the intervals that draw
// returns, a long one is hit more often than a short one.
func around(r *rand.Rand, longest float64, draw func() float64) float64 {
	for {
		if x := draw(); r.Float64()*longest <= x {
			return x
		}
	}
}

// draw returns when a change that is written at time 0 is published.
func (p *path) draw(r *rand.Rand) float64 {
	at := p.delivery.draw(r)
	if p.KubeletSync > 0 {
		at += p.CacheTTL*r.Float64() + p.nextSync(r) + syncWork*r.Float64()
	}
	return at + p.read(r)
}

// drawTwo returns when one process publishes what is staged at -wait and what is
// promoted at 0. One sync of the pod can bring both.
func (p *path) drawTwo(r *rand.Rand, wait float64) (stage, promote float64) {
	stage, promote = p.delivery.draw(r)-wait, p.delivery.draw(r)
	if p.KubeletSync > 0 {
		stage += p.CacheTTL * r.Float64()
		promote += p.CacheTTL * r.Float64()
		first, second := &stage, &promote
		if *second < *first {
			first, second = second, first
		}
		far := *second-*first > 8*p.longestPeriod()
		*first += p.nextSync(r)
		if far { // the first sync says nothing about the second
			*second += p.nextSync(r)
		} else {
			sync := *first
			for sync < *second {
				sync += p.period(r)
			}
			*second = sync
		}
		stage += syncWork * r.Float64()
		promote += syncWork * r.Float64()
	}
	return stage + p.read(r), promote + p.read(r)
}
