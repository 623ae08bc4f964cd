package model

import (
	"slices"
	"time"

	"github.com/tokenagent/tokenagent/internal/rotation"
)

// bounds are the longest delays and the largest clock errors of a world.
type bounds struct {
	propagation time.Duration // from the publication until every receiver has seen it
	change      time.Duration // from the promotion and senderWait until every sender has changed over
	flight      time.Duration // from sending a message until verifying it
	skew        time.Duration // the error of the operator's clock
	drift       time.Duration // the error of a receiver's clock
	down        time.Duration // how long a restart of a receiver takes
}

// A protocol says what the operator publishes, and how long the operator and the
// senders wait. A zero duration means no wait.
type protocol struct {
	staged bool // the operator stages, and promotes stageWait later; otherwise promotes only
	// declared says that the source declares the superseded token with a deadline,
	// overlap after the promotion by the operator's clock. Otherwise the source holds
	// only the current token, and the receivers remember the previous one for window.
	declared bool
	overlap  time.Duration
	window   rotation.Window

	stageWait  time.Duration
	senderWait time.Duration // every sender waits this long before it changes over, as exec does
	ending     ending        // how the rotation ends, endWait after the promotion
	endWait    time.Duration
	rest       time.Duration // until the next rotation
}

type ending uint8

const (
	leave  ending = iota // publish nothing
	retire               // remove the superseded token
	record               // remove it, and list its digest as retired
	revoke               // remove it, and list its digest as revoked
)

// between returns the time between two promotions.
func (p protocol) between() time.Duration { return p.endWait + p.rest + p.stageWait }

// broken returns the rules that p breaks within b over this many rotations. If it
// returns none, no sender is refused. All comparisons are strict: events of the same
// moment happen in any order, and at its deadline a token is already refused.
func (p protocol) broken(b bounds, rotations int) []string {
	var out []string
	rule := func(kept bool, text string) {
		if !kept {
			out = append(out, text)
		}
	}
	last := p.senderWait + b.change + b.flight // from the promotion until the old token arrives for the last time
	lead := p.senderWait
	if p.staged {
		lead += p.stageWait
	}
	rule(lead > b.propagation, "every receiver has the new token before a sender has it")
	if p.declared {
		rule(p.overlap-b.skew-b.drift > last, "the deadline comes after the last use of the old token, even by the worst clocks")
	} else {
		// A receiver may see the promotion at once, so propagation adds no time.
		rule(max(p.window.Overlap, p.window.MaxOverlap) > last, "the window ends after the last use of the old token")
		// A receiver remembers only a token that it has seen as current.
		rule(rotations < 2 || p.between() > b.propagation+b.down, "every receiver has seen a token as current before the next one replaces it")
	}
	if p.ending != leave && (p.declared || p.ending != retire) {
		rule(p.endWait > last, "the old token is removed after its last use")
	}
	if p.declared && p.ending == leave && rotations > 1 {
		rule(p.between() > last, "the next token is promoted after the last use of the old token")
		rule(p.between() > b.propagation, "every receiver has seen the deadline before the next one replaces it")
	}
	if p.ending == retire && p.declared {
		// A receiver that never saw the promotion would remember the old token instead.
		rule(p.endWait > b.propagation, "every receiver has seen the deadline before it is removed")
	}
	return out
}

// versions returns what the operator publishes for this many rotations. clock says
// how far the operator's clock is ahead in each rotation.
func (p protocol) versions(rotations int, clock []time.Duration) []version {
	out := []version{{step: "begin", current: first}}
	var revoked, retired []token
	var previous []superseded
	at := 4 * tick
	for n := range rotations {
		old := first + token(n)
		if p.staged {
			out = append(out, version{at: at, step: "stage", current: old, next: old + 1, previous: previous, revoked: slices.Clip(revoked), retired: slices.Clip(retired)})
			at += p.stageWait
		}
		v := version{at: at, step: "promote", current: old + 1, revoked: slices.Clip(revoked), retired: slices.Clip(retired)}
		if p.declared {
			// A Secret has room for only one previous token.
			previous = []superseded{{old, (at + clock[n] + p.overlap).Truncate(second)}}
		}
		v.previous = previous
		out = append(out, v)
		switch at += p.endWait; p.ending {
		case leave:
		case revoke:
			revoked = append(revoked, old)
			fallthrough
		case retire, record:
			if p.ending == record {
				retired = append(retired, old)
			}
			previous = nil
			out = append(out, version{
				at: at, step: [...]string{"", "retire", "retire", "revoke"}[p.ending], current: old + 1,
				revoked: slices.Clip(revoked), retired: slices.Clip(retired),
			})
		}
		at += p.rest
	}
	return out
}

// conditions are the delays, clock errors and restarts of one history.
type conditions struct {
	rotations int
	clock     []time.Duration   // by rotation: how far the operator's clock is ahead
	delays    [][]time.Duration // by receiver and version
	drift     []time.Duration   // by receiver: how far its clock is ahead
	restarts  [][]restart       // by receiver
	changes   [][]time.Duration // by sender and rotation
}

// weight returns how far the conditions are from the simplest ones.
func (c conditions) weight() int {
	sum := 0
	for _, of := range slices.Concat(c.delays, c.changes, [][]time.Duration{c.clock, c.drift}) {
		for _, d := range of {
			sum += int((d.Abs() + tick - 1) / tick)
		}
	}
	for _, r := range c.restarts {
		sum += len(r)
	}
	return sum
}

// world returns the history of p under c.
func (p protocol) world(c conditions, b bounds) *world {
	w := &world{window: p.window, versions: p.versions(c.rotations, c.clock), flight: b.flight, reached: b.propagation, weight: c.weight()}
	last := w.versions[len(w.versions)-1].at
	w.settled = last + b.propagation
	w.end = last + max(p.window.Overlap, p.window.MaxOverlap, 0) + p.overlap + b.propagation + p.senderWait + b.change + b.flight + b.skew + b.drift + second
	for i, delays := range c.delays {
		r := receiver{skew: c.drift[i], restarts: c.restarts[i], sees: []sight{{0, 0}}}
		for v := 1; v < len(w.versions); v++ {
			r.sees = append(r.sees, sight{w.versions[v].at + delays[v-1], v})
		}
		slices.SortStableFunc(r.sees, func(a, b sight) int { return int(a.at - b.at) })
		w.receivers = append(w.receivers, r)
	}
	for _, changes := range c.changes {
		s := sender{holds: []hold{{0, first}}}
		n := 0
		for _, v := range w.versions {
			if v.step != "promote" {
				continue
			}
			at := v.at + p.senderWait + changes[n]
			n++
			// A sender that is late with an older token already has this newer one.
			for len(s.holds) > 1 && s.holds[len(s.holds)-1].from >= at {
				s.holds = s.holds[:len(s.holds)-1]
			}
			s.holds = append(s.holds, hold{at, v.current})
		}
		w.senders = append(w.senders, s)
	}
	return w
}
