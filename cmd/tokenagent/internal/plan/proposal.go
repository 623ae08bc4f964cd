package plan

import (
	"math"
	"time"

	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/fail"
)

// A proposal is the times that are recommended, and those to judge.
type proposal struct {
	safe    limits // without any risk; +Inf where there is no limit
	enough  limits // the same, or for the risk where nothing is safe
	advised limits // that, rounded up
	chosen  setting
	sliding bool
	given   bool // chosen differs from advised, since flags say so
}

// propose derives the times for m, and puts those of the flags in their place.
func (f *flags) propose(m *model) (*proposal, error) {
	p := &proposal{safe: m.limits(0), sliding: m.sliding}
	take := func(name string, value time.Duration, advised float64) float64 {
		if f.changed(name) || value > 0 {
			p.given = true
			return value.Seconds()
		}
		return advised
	}
	risk := 0.0
	if !m.bounded() {
		risk = f.risk
	}
	p.enough = m.limits(risk)
	p.advised = p.enough
	p.advised.wait = roundUp(p.enough.wait)
	if m.protocol == staged {
		p.chosen.wait = take("stage-wait", f.stageWait, p.advised.wait)
	}
	p.safe = m.overlaps(p.safe, 0, p.chosen.wait)
	p.enough = m.overlaps(p.enough, risk, p.chosen.wait)
	p.advised.overlap = roundUp(p.enough.overlap)
	p.chosen.overlap = take("overlap", f.overlap, p.advised.overlap)
	if !m.sliding {
		return p, nil
	}
	if p.chosen.overlap == 0 { // which agents refuse beside a cap
		return nil, fail.Usage("--sliding goes with an overlap above 0s; 0s is no window, and nothing could slide")
	}
	p.advised.maxOverlap = roundUp(p.enough.maxOverlap)
	p.chosen.maxOverlap = take("max-overlap", f.maxOverlap, max(p.advised.maxOverlap, p.chosen.overlap))
	if p.chosen.maxOverlap < p.chosen.overlap {
		return nil, fail.Usage("--max-overlap is shorter than the overlap, %s; say at least as much", short(p.chosen.overlap))
	}
	return p, nil
}

// settings returns what to simulate: the chosen times, then parts of the
// advised overlap, ascending, in whole seconds.
func (p *proposal) settings() []setting {
	parts := [...]float64{0, 0.25, 0.5, 0.75, 0.9, 1}
	all := []setting{p.chosen}
	for _, part := range parts {
		s := p.chosen
		s.overlap = math.Round(p.advised.overlap * part)
		if p.sliding {
			s.maxOverlap = max(s.maxOverlap, s.overlap)
		}
		if len(all) == 1 || s.overlap > all[len(all)-1].overlap { // parts of a short one are the same
			all = append(all, s)
		}
	}
	return all
}

// isSafe reports whether the closed form excludes every refusal with s, whose
// wait is the chosen one, and the simulation saw none: seen. Should the two ever
// differ, the closed form is wrong.
func (p *proposal) isSafe(s setting, seen refusal) bool {
	return p.safe.allow(s) && seen.chance == 0
}

// keepsRisk reports whether the chosen times are safe, or where nothing is, long
// enough for the risk.
func (p *proposal) keepsRisk(bounded bool, seen refusal) bool {
	return p.enough.allow(p.chosen) && (!bounded || seen.chance == 0)
}

func (l limits) allow(s setting) bool {
	return !l.unstaged && s.wait >= l.wait && s.overlap >= l.overlap && s.maxOverlap >= l.maxOverlap
}
