package model

import (
	"slices"
	"time"

	"github.com/tokenagent/tokenagent/internal/rotation"
)

// bounds are the worst that a protocol reckons with.
type bounds struct {
	propagation time.Duration // from publishing until every receiver has seen it
	change      time.Duration // from then until every sender has changed over, wait apart
	flight      time.Duration // from sending until verifying
	skew        time.Duration // the operator's clock is off by no more
	drift       time.Duration // nor a receiver's
	down        time.Duration // how long a receiver takes to restart
}

// A protocol is the rules that an operator goes by, in waits that are times
// between publishing two versions. Zero is not to wait.
type protocol struct {
	staged bool // stage, and promote stageWait later; otherwise both at once
	// declared has the superseded token stand in the source until overlap after
	// the promotion, by the operator's clock. Otherwise the source holds just the
	// current token, and the receivers remember the last one for window.
	declared bool
	overlap  time.Duration
	window   rotation.Window

	stageWait  time.Duration
	senderWait time.Duration // by which every sender puts off what it learns, as exec does
	ending     ending        // how it ends, endWait after the promotion
	endWait    time.Duration
	rest       time.Duration // until the next rotation
}

type ending uint8

const (
	leave  ending = iota // nothing more is published
	retire               // the superseded token is taken out
	record               // and its digest is left, as retired
	revoke               // and refused
)

// between returns how long after a promotion the next one comes.
func (p protocol) between() time.Duration { return p.endWait + p.rest + p.stageWait }

// broken returns the rules that p does not keep within b over so many rotations, none where it promises
// that no sender is refused. All are strict: at one moment anything may happen in
// any order, and at its deadline a token is accepted no more.
func (p protocol) broken(b bounds, rotations int) []string {
	var out []string
	rule := func(kept bool, text string) {
		if !kept {
			out = append(out, text)
		}
	}
	last := p.senderWait + b.change + b.flight // when the old token arrives for the last time, since the promotion
	lead := p.senderWait
	if p.staged {
		lead += p.stageWait
	}
	rule(lead > b.propagation, "the new token is with every receiver before a sender has it")
	if p.declared {
		rule(p.overlap-b.skew-b.drift > last, "the deadline outlasts the last sender, by the worst of clocks")
	} else {
		// A receiver may see the promotion at once, so propagation gives nothing.
		rule(max(p.window.Overlap, p.window.MaxOverlap) > last, "the window outlasts the last sender")
		// What a receiver has never seen current it cannot remember.
		rule(rotations < 2 || p.between() > b.propagation+b.down, "every receiver has seen a token current before the next one takes its place")
	}
	if p.ending != leave && (p.declared || p.ending != retire) {
		rule(p.endWait > last, "the old token is taken out after the last sender changed over")
	}
	if p.declared && p.ending == leave && rotations > 1 {
		rule(p.between() > last, "the next token is promoted after the last sender changed over")
		rule(p.between() > b.propagation, "every receiver has seen the deadline before the next takes its place")
	}
	if p.ending == retire && p.declared {
		// One that never saw the promotion would remember the old token instead.
		rule(p.endWait > b.propagation, "every receiver has seen the deadline before it is taken out")
	}
	return out
}

// versions returns what the operator publishes for so many rotations. clock is by
// how much his clock is ahead at each.
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
			// As the keys of a Secret, which have room for one.
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

// conditions are what nature and people make of a protocol.
type conditions struct {
	rotations int
	clock     []time.Duration   // by rotation: by how much the operator's clock is ahead
	delays    [][]time.Duration // by receiver and version
	drift     []time.Duration   // by receiver
	restarts  [][]restart       // by receiver
	changes   [][]time.Duration // by sender and rotation
}

// weight is how far from plain the conditions are.
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

// world returns the history that p has under c.
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
			// Late with an older one, it has the newer already.
			for len(s.holds) > 1 && s.holds[len(s.holds)-1].from >= at {
				s.holds = s.holds[:len(s.holds)-1]
			}
			s.holds = append(s.holds, hold{at, v.current})
		}
		w.senders = append(w.senders, s)
	}
	return w
}
