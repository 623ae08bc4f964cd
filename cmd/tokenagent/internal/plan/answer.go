package plan

import (
	"math"

	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/exitcode"
)

// An answer is what plan prints with --output json. Its names stay; new ones may be added.
// Chances are from 0 to 1.
type answer struct {
	Schema     int        `json:"schema"`
	Protocol   string     `json:"protocol"`
	Safe       bool       `json:"safe"`        // the chosen times exclude every refusal, and the simulation has none
	WithinRisk bool       `json:"within_risk"` // they are safe, or if no time is safe, they keep the risk
	Bounded    bool       `json:"bounded"`     // delivery and restart have an upper limit
	Assumed    *model     `json:"assumed"`
	Limits     limits     `json:"limits"`
	Advised    times      `json:"advised"` // the limits rounded up; without limits, those for the risk
	Chosen     chance     `json:"chosen"`  // the times of the flags, otherwise the advised ones
	Chances    []chance   `json:"chances"` // for parts of the advised overlap
	Simulation simulation `json:"simulation"`
	Notes      []string   `json:"notes"`
	Next       []string   `json:"next"`                   // the steps of the rotation
	Run        string     `json:"run,omitempty"`          // the same as one command
	Idle       seconds    `json:"idle_seconds,omitempty"` // its --idle

	target limits // the limits that the advised times keep
	given  bool   // a flag chose a time
}

// A chance holds what rotations with certain times refuse.
type chance struct {
	times
	Safe bool `json:"safe"` // they exclude every refusal, and the simulation has none
	refusal
	Share float64 `json:"refused_share"` // of the requests until everything has changed
}

// propose returns an answer with the limits, the advised and the chosen times.
func (f *flags) propose() (*answer, error) {
	m := &f.model
	a := &answer{Schema: 1, Protocol: m.Protocol, Bounded: m.bounded(), Assumed: m, Notes: []string{}}
	choose := func(name string, advised seconds) seconds {
		if value := f.duration(name); value > 0 || f.set.Changed(name) {
			a.given = true
			return seconds(value)
		}
		return advised
	}
	risk := 0.0
	if !a.Bounded {
		risk = m.Risk
	}
	a.Advised.StageWait = roundUp(m.limits(risk, -1).StageWait)
	c := &a.Chosen.times
	if m.Protocol == staged {
		c.StageWait = choose("stage-wait", a.Advised.StageWait)
	}
	a.Limits, a.target = m.limits(0, c.StageWait), m.limits(risk, c.StageWait)
	a.Advised.Overlap, a.Advised.MaxOverlap = roundUp(a.target.Overlap), roundUp(a.target.MaxOverlap)
	c.Overlap, c.MaxOverlap = choose("overlap", a.Advised.Overlap), a.Advised.MaxOverlap
	if !m.Sliding {
		return a, nil
	}
	if c.Overlap == 0 {
		return nil, exitcode.Usage("--sliding needs an overlap above 0s; without an overlap nothing slides")
	}
	if c.MaxOverlap = choose("max-overlap", max(c.MaxOverlap, c.Overlap)); c.MaxOverlap < c.Overlap {
		return nil, exitcode.Usage("--max-overlap is shorter than the overlap, %s; give at least as much", c.Overlap)
	}
	return a, nil
}

// settings returns the times to simulate: the chosen ones, and then parts of the advised
// overlap, ascending.
func (a *answer) settings() []times {
	all := []times{a.Chosen.times}
	for _, part := range []float64{0, 0.25, 0.5, 0.75, 0.9, 1} {
		t := a.Chosen.times
		t.Overlap = seconds(math.Round(float64(a.Advised.Overlap) * part))
		t.MaxOverlap = max(t.MaxOverlap, t.Overlap)
		if len(all) == 1 || t.Overlap > all[len(all)-1].Overlap {
			all = append(all, t)
		}
	}
	return all
}

// judge completes the answer with what rotations with the settings refuse.
func (a *answer) judge(settings []times, refused []refusal) {
	for i, t := range settings {
		r := refused[i]
		c := chance{times: t, Safe: a.Limits.allow(t) && r.Any == 0, refusal: r}
		if r.requests > 0 {
			c.Share = min(1, (r.NewRequests+r.OldRequests)/r.requests)
		}
		a.Chances = append(a.Chances, c)
	}
	a.Chosen, a.Chances = a.Chances[0], a.Chances[1:]
	a.Safe = a.Chosen.Safe
	a.WithinRisk = a.target.allow(a.Chosen.times) && (!a.Bounded || a.Chosen.Any == 0)
	a.note()
	a.Idle = a.idle()
	a.Next, a.Run = a.next(), a.whole()
}
