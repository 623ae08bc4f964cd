package plan

import (
	"encoding/json"
	"io"
	"math"
)

// An answer is what plan prints with --output json. Its names stay; new ones may
// be added. Durations are in seconds, chances from 0 to 1. What has no limit is
// null.
type answer struct {
	Schema   int      `json:"schema"`
	Protocol protocol `json:"protocol"`
	// Safe says that the times under chosen exclude every refusal, and that the
	// simulation saw none.
	Safe bool `json:"safe"`
	// WithinRisk says that they are safe, or where nothing is, that a rotation
	// refuses anything with a chance of assumed.risk at most.
	WithinRisk bool `json:"within_risk"`
	// Bounded says that there are such times at all, staging apart.
	Bounded bool    `json:"bounded"`
	Assumed assumed `json:"assumed"`
	// Limits are the shortest safe times, of closed form.
	Limits limitTimes `json:"limits"`
	// Advised are they, rounded up; where there are none, those for the risk.
	Advised times `json:"advised"`
	// Risks are the shortest times for some risks of any refusal in a rotation;
	// only where nothing is safe.
	Risks []riskTimes `json:"risks,omitempty"`
	// Chosen is what flags asked for, else what is advised.
	Chosen chance `json:"chosen"`
	// Chances are for parts of the advised overlap, else as chosen.
	Chances    []chance   `json:"chances"`
	Simulation simulation `json:"simulation"`
	Notes      []string   `json:"notes"`
	Next       []string   `json:"next"` // what to do, in order
}

type assumed struct {
	Receivers     int     `json:"receivers"`
	Senders       int     `json:"senders"`
	Newcomers     int     `json:"newcomers"`
	Delivery      string  `json:"delivery"`
	KubeletSync   float64 `json:"kubelet_sync_seconds"` // 0 without a kubelet
	CacheTTL      float64 `json:"cache_ttl_seconds"`
	PollInterval  float64 `json:"poll_interval_seconds"` // 0 where events are counted on
	Debounce      float64 `json:"debounce_seconds"`
	Sender        sender  `json:"sender"`
	SenderRestart string  `json:"sender_restart"`
	RestartDelay  float64 `json:"restart_delay_seconds"`
	InFlight      float64 `json:"in_flight_seconds"`
	ClockSkew     float64 `json:"clock_skew_seconds"`
	RequestRate   float64 `json:"request_rate"`
	Sliding       bool    `json:"sliding"`
	Risk          float64 `json:"risk"`
}

type times struct {
	StageWait  *float64 `json:"stage_wait_seconds"`
	Overlap    *float64 `json:"overlap_seconds"`
	MaxOverlap *float64 `json:"max_overlap_seconds"` // null too where the window does not slide
}

type limitTimes struct {
	Propagation *float64 `json:"propagation_seconds"` // until the last receiver knows
	LastUse     *float64 `json:"last_use_seconds"`    // of the old token, from the change on
	times
}

type riskTimes struct {
	Risk float64 `json:"risk"`
	times
}

type chance struct {
	times
	Safe       bool    `json:"safe"`   // every refusal is excluded, and none was seen
	Any        float64 `json:"chance"` // of any refusal in a rotation
	New        float64 `json:"chance_new_token"`
	Old        float64 `json:"chance_old_token"`
	NewRefused float64 `json:"refused_new_token"` // mean number of requests in a rotation
	OldRefused float64 `json:"refused_old_token"`
	Share      float64 `json:"refused_share"` // of the requests from the change until all is settled
}

type simulation struct {
	Rotations   int    `json:"rotations"`
	Seed        uint64 `json:"seed"`
	StageWait   spread `json:"needed_stage_wait_seconds"` // what each rotation needed
	Overlap     spread `json:"needed_overlap_seconds"`
	Propagation shape  `json:"propagation_seconds"` // of each receiver
	LastUse     shape  `json:"last_use_seconds"`    // of each sender, from the change on
}

type spread struct {
	Half float64 `json:"p50"`
	P95  float64 `json:"p95"`
	P99  float64 `json:"p99"`
	Most float64 `json:"max"`
}

type shape struct {
	spread
	Bins []bin `json:"bins"`
}

func newAnswer(f *flags, m *model, p *proposal, res *result) *answer {
	a := &answer{
		Schema:     1,
		Protocol:   m.protocol,
		Safe:       p.isSafe(p.chosen, res.refused[0]),
		WithinRisk: p.keepsRisk(m.bounded(), res.refused[0]),
		Bounded:    m.bounded(),
		Assumed: assumed{
			m.receivers, m.senders, m.newcomers, m.reach.delivery.String(), m.reach.sync, m.reach.ttl, m.reach.poll, m.reach.debounce,
			m.sender, m.restart.String(), m.delay, m.inFlight, m.skew, m.rate, m.sliding, f.risk,
		},
		Limits:  limitTimes{finite(p.safe.reach), finite(p.safe.lastUse), p.safe.times(m)},
		Advised: p.advised.times(m),
		Chosen:  newChance(m, p, p.chosen, res.refused[0]),
		Simulation: simulation{
			res.rotations, f.seed, spreadOf(res.wait), spreadOf(res.overlap), shapeOf(res.reach), shapeOf(res.lastUses),
		},
	}
	for i, s := range p.settings()[1:] {
		a.Chances = append(a.Chances, newChance(m, p, s, res.refused[i+1]))
	}
	if !a.Bounded {
		for _, r := range []float64{1e-2, 1e-4, 1e-6} {
			l := m.overlaps(m.limits(r), r, p.chosen.wait)
			a.Risks = append(a.Risks, riskTimes{r, l.times(m)})
		}
	}
	a.Notes = notes(f, m, p, a)
	a.Next = next(m, p)
	return a
}

// times gives those that the protocol has.
func (l limits) times(m *model) times {
	return setting{l.wait, l.overlap, l.maxOverlap}.times(m)
}

func (s setting) times(m *model) times {
	t := times{StageWait: finite(s.wait), Overlap: finite(s.overlap)}
	if m.sliding {
		t.MaxOverlap = finite(s.maxOverlap)
	}
	return t
}

// finite returns nil where there is no limit. JSON has no infinity, and a
// millisecond is exact enough.
func finite(seconds float64) *float64 {
	if math.IsInf(seconds, 0) {
		return nil
	}
	seconds = milli(seconds)
	return &seconds
}

func milli(seconds float64) float64 { return math.Round(seconds*1000) / 1000 }

func newChance(m *model, p *proposal, s setting, r refusal) chance {
	c := chance{times: s.times(m), Safe: p.isSafe(s, r), Any: r.chance, New: r.newChance, Old: r.oldChance, NewRefused: r.newRefused, OldRefused: r.oldRefused}
	if r.requests > 0 {
		c.Share = min(1, (r.newRefused+r.oldRefused)/r.requests)
	}
	return c
}

func spreadOf(ascending []float64) spread {
	at := func(q float64) float64 {
		return milli(ascending[min(int(q*float64(len(ascending))), len(ascending)-1)])
	}
	return spread{at(0.5), at(0.95), at(0.99), at(1)}
}

func shapeOf(h *histogram) shape {
	return shape{spread{milli(h.quantile(0.5)), milli(h.quantile(0.95)), milli(h.quantile(0.99)), milli(h.most)}, h.bins()}
}

func (a *answer) writeJSON(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(a)
}
