package model

import (
	"slices"
	"testing"
	"time"

	"github.com/tokenagent/tokenagent/internal/rotation"
)

// worst returns the bounds of the small worlds. Each delay takes every number of
// ticks up to its bound.
func worst() bounds {
	return bounds{propagation: 2 * tick, change: 2 * tick, flight: tick, skew: tick, drift: tick}
}

// staged returns the protocol of a fleet, with the shortest waits that keep its
// rules.
func staged(b bounds) protocol {
	return protocol{
		staged: true, declared: true, window: rotation.Window{Overlap: 4 * tick},
		stageWait: b.propagation + second,
		overlap:   b.change + b.flight + b.skew + b.drift + second,
		ending:    retire, endWait: max(b.propagation, b.change+b.flight) + second,
		rest: tick,
	}
}

// atOnce returns the protocol of one machine: the operator runs `rotate now`, and
// the senders wait before they use the new token.
func atOnce(b bounds) protocol {
	wait := b.propagation + second
	return protocol{
		declared: true, window: rotation.Window{Overlap: 4 * tick}, senderWait: wait,
		overlap: wait + b.change + b.flight + b.skew + b.drift + second,
	}
}

// plain returns the protocol of a file that holds only the current token. With
// staged, the file also holds the next token before the promotion.
func plain(b bounds, staged bool) protocol {
	p := protocol{staged: staged}
	if staged {
		p.stageWait = b.propagation + second
	} else {
		p.senderWait = b.propagation + second
	}
	p.window.Overlap = p.senderWait + b.change + b.flight + second
	p.rest = p.senderWait + b.change + b.flight
	return p
}

// keepsRules fails the test if p breaks a rule.
func keepsRules(t *testing.T, p protocol, b bounds, rotations int) {
	t.Helper()
	if rules := p.broken(b, rotations); rules != nil {
		t.Fatalf("the protocol breaks the rules %q", rules)
	}
}

// between returns the moments half a tick after each tick from from to to-1.
func between(from, to int) []time.Duration {
	var out []time.Duration
	for n := from; n < to; n++ {
		out = append(out, time.Duration(n)*tick+tick/2)
	}
	return out
}

// The ways to restart, with a state file and without.
var (
	kept      = []restart{{keeps: true}, {keeps: true, down: tick}, {keeps: true, newest: true}}
	forgotten = []restart{{}, {down: tick}, {newest: true}}
)

// TestP2_StagedRotation runs two receivers and two senders through a rotation that
// keeps the rules. The operator's clock is right, behind or ahead. No sender is
// refused, no token is accepted past its deadline, and receivers agree in the end.
func TestP2_StagedRotation(t *testing.T) {
	t.Parallel()
	s := setting{bounds: worst(), rotations: 1, receivers: 2, senders: 2}
	s.drift, s.change = 0, tick
	want := 3 * 378 * 3 // clocks, pairs of 3^3 receivers, pairs of 2 senders
	if testing.Short() {
		s.receivers, want = 1, 3*27*3
	}
	p := staged(s.bounds)
	keepsRules(t, p, s.bounds, s.rotations)
	s.explore(t, p).holds(t, want)
}

// TestP2_StagedRotationTwice starts the second rotation as soon as the rules allow.
// Receivers and senders may miss the first one.
func TestP2_StagedRotationTwice(t *testing.T) {
	t.Parallel()
	s := setting{bounds: worst(), rotations: 2, receivers: 1, senders: 1}
	s.skew, s.drift, s.change = 0, 0, tick
	p := staged(s.bounds)
	want := 729 * 4
	if testing.Short() {
		s.propagation, want = tick, 64*4
	}
	keepsRules(t, p, s.bounds, s.rotations)
	s.explore(t, p).holds(t, want)
}

// TestP2_ClocksApart sets the operator's and the receiver's clock apart by up to
// their bounds.
func TestP2_ClocksApart(t *testing.T) {
	t.Parallel()
	s := setting{bounds: worst(), rotations: 1, receivers: 1, senders: 1}
	for name, p := range map[string]protocol{"staged": staged(s.bounds), "at once": atOnce(s.bounds)} {
		keepsRules(t, p, s.bounds, s.rotations)
		want := map[string]int{"staged": 3 * 27 * 3 * 3, "at once": 3 * 3 * 3 * 3}[name]
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s.explore(t, p).holds(t, want)
		})
	}
}

// TestP2_PlainRotation replaces the only token of a source in place, twice within one
// window, while the senders wait.
func TestP2_PlainRotation(t *testing.T) {
	t.Parallel()
	s := setting{bounds: worst(), rotations: 2, receivers: 2, senders: 2}
	s.drift = 0
	want := 45 * 45 // pairs of 3^2 receivers and senders
	if testing.Short() {
		s.receivers, s.senders, want = 1, 1, 81
	}
	p := plain(s.bounds, false)
	p.rest = p.window.Overlap / 2
	keepsRules(t, p, s.bounds, s.rotations)
	s.explore(t, p).holds(t, want)
}

// TestP3_RevokeAfterChange ends the rotation with a revocation, after the senders
// have changed to the new token.
func TestP3_RevokeAfterChange(t *testing.T) {
	t.Parallel()
	s := setting{bounds: worst(), rotations: 1, receivers: 1, senders: 2}
	p := staged(s.bounds)
	p.ending = revoke
	keepsRules(t, p, s.bounds, s.rotations)
	s.explore(t, p).holds(t, 3*27*3*6)
}

// TestP3_Leak revokes the old token at once, without senders. A receiver that has seen
// the revocation refuses the token, also within its window and after a restart.
func TestP3_Leak(t *testing.T) {
	t.Parallel()
	s := setting{
		bounds: worst(), rotations: 1, receivers: 1,
		restarts: slices.Concat(kept, forgotten), restartAt: between(3, 10),
	}
	s.drift = 0
	for name, p := range map[string]protocol{"declared": staged(s.bounds), "plain": plain(s.bounds, true)} {
		p.ending, p.endWait = revoke, 0
		clocks := map[bool]int{true: 3, false: 1}[p.declared]
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s.explore(t, p).holds(t, clocks*27*(1+6*7))
		})
	}
}

// TestP8_RestartWithDeclared restarts a receiver in every way at every stage of a
// rotation whose source declares the previous token. With or without a state file,
// the receiver gives the same answers as one that kept running.
func TestP8_RestartWithDeclared(t *testing.T) {
	t.Parallel()
	s := setting{
		bounds: worst(), rotations: 1, receivers: 1, senders: 1,
		restarts: slices.Concat(kept, forgotten), restartAt: between(4, 11),
	}
	s.skew, s.drift = 0, 0
	if testing.Short() {
		s.restartAt = between(6, 8)
	}
	p := staged(s.bounds)
	keepsRules(t, p, s.bounds, s.rotations)
	explore(t, func(tape *tape) *world {
		w := p.world(s.conditions(tape, p), s.bounds)
		w.checkRestarts = true
		return w
	}).holds(t, 27*(1+6*len(s.restartAt))*3)
}

// TestP8_RestartWithState restarts a receiver during two rotations in one window. The
// source holds only the current token. With a state file, the receiver gives the same
// answers as one that kept running.
func TestP8_RestartWithState(t *testing.T) {
	t.Parallel()
	for name, unstaged := range map[string]bool{"in place": true, "staged": false} {
		s := setting{
			bounds: worst(), rotations: 2, receivers: 1, senders: 1,
			restarts: kept, restartAt: between(4, 10),
		}
		s.propagation, s.drift, s.down = tick, 0, tick
		if testing.Short() {
			s.restartAt = between(6, 8)
		}
		p := plain(s.bounds, !unstaged)
		p.rest = 2*tick + second
		keepsRules(t, p, s.bounds, s.rotations)
		behaviours := map[bool]int{true: 4, false: 16}[unstaged]
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			explore(t, func(tape *tape) *world {
				w := p.world(s.conditions(tape, p), s.bounds)
				w.checkRestarts = true
				return w
			}).holds(t, behaviours*(1+3*len(s.restartAt))*9)
		})
	}
}

// TestP2_RulesAreExact varies each wait of each protocol around its bound. Some
// history refuses a sender exactly if the protocol breaks a rule. So the rules are
// sufficient, and no wait can be shorter.
func TestP2_RulesAreExact(t *testing.T) {
	t.Parallel()
	s := setting{bounds: bounds{propagation: tick, change: tick, flight: tick, skew: tick, drift: tick}, rotations: 1, receivers: 1, senders: 1}
	shorter := []time.Duration{tick, second, 0} // by how much a wait is shorter than the shortest safe one
	var ps []protocol
	for _, lead := range shorter {
		for _, overlap := range shorter {
			for _, p := range []protocol{staged(s.bounds), atOnce(s.bounds), plain(s.bounds, false), plain(s.bounds, true)} {
				p.window.Overlap -= overlap
				p.overlap -= overlap
				if p.staged {
					p.stageWait -= lead
				} else {
					p.senderWait -= lead
				}
				if p.ending == leave {
					ps = append(ps, p)
					continue
				}
				for _, wait := range shorter {
					p.endWait = s.change + s.flight + second - wait
					p.ending = retire
					ps = append(ps, p)
					p.ending = revoke
					ps = append(ps, p)
				}
			}
		}
	}
	safe := 0
	for _, p := range ps {
		f := s.explore(t, p)
		rules := p.broken(s.bounds, s.rotations)
		switch {
		case f.least == nil && rules != nil:
			t.Errorf("%+v breaks %q, but no history goes wrong", p, rules)
		case f.least != nil && rules == nil:
			t.Errorf("%+v keeps the rules, but a history goes wrong:\n%s", p, f.least.world.timeline(f.least.violation))
		case f.least == nil:
			safe++
		case f.least.violation.kind != refusedSender:
			t.Errorf("%+v breaks %q, but no sender is refused; another invariant is broken:\n%s", p, rules, f.least.world.timeline(f.least.violation))
		}
	}
	if len(ps) != 81 || safe < 5 {
		t.Errorf("%d protocols, %d of them safe; want 81, at least 5 of them safe", len(ps), safe)
	}
}
