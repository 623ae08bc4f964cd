package model

import (
	"testing"

	"github.com/tokenagent/tokenagent/internal/rotation"
	"github.com/tokenagent/tokenagent/pkg/verify"
)

// A badOrder is a protocol that breaks one rule, and the violation that it must
// cause. The name is the heading of its timeline in README.md.
type badOrder struct {
	name          string
	setting       setting
	protocol      protocol
	checkRestarts bool // report an answer that a restart changed
	kind          kind
	class         verify.RefusalClass // if the wrong answer is a refusal
}

func badOrders() []badOrder {
	small := setting{bounds: worst(), rotations: 1, receivers: 1, senders: 1}
	right := small
	right.skew, right.drift = 0, 0
	clocks := func(skew, drift bool) setting {
		s := small
		if !skew {
			s.skew = 0
		}
		if !drift {
			s.drift = 0
		}
		return s
	}
	restarts := right
	restarts.restarts, restarts.restartAt = forgotten[:1], between(4, 12)
	alone := restarts
	alone.senders = 0
	quiet := right
	quiet.senders = 0
	with := func(p protocol, change func(*protocol)) protocol {
		change(&p)
		return p
	}
	return []badOrder{
		{
			name: "promoted before the stage has reached everyone", setting: right, kind: refusedSender, class: verify.Invalid,
			protocol: with(staged(right.bounds), func(p *protocol) { p.stageWait = tick }),
		},
		{
			name: "promoted the moment the stage reaches the last", setting: right, kind: refusedSender, class: verify.Invalid,
			protocol: with(staged(right.bounds), func(p *protocol) { p.stageWait = right.propagation }),
		},
		{
			name: "replaced in place, and a sender is faster than a receiver", setting: right, kind: refusedSender, class: verify.Invalid,
			protocol: with(plain(right.bounds, false), func(p *protocol) { p.senderWait = 0 }),
		},
		{
			name: "an overlap shorter than the change-over", setting: right, kind: refusedSender, class: verify.Expired,
			protocol: with(staged(right.bounds), func(p *protocol) { p.overlap = right.change; p.ending = leave }),
		},
		{
			name: "a window as long as the change-over and no longer", setting: right, kind: refusedSender, class: verify.Expired,
			protocol: with(plain(right.bounds, true), func(p *protocol) { p.window.Overlap = right.change + right.flight }),
		},
		{
			name: "a deadline by a clock that is behind", setting: clocks(true, false), kind: refusedSender, class: verify.Expired,
			protocol: with(staged(right.bounds), func(p *protocol) { p.overlap = right.change + right.flight + second }),
		},
		{
			name: "a receiver's clock that is ahead", setting: clocks(false, true), kind: refusedSender, class: verify.Expired,
			protocol: with(staged(right.bounds), func(p *protocol) { p.overlap = right.change + right.flight + second }),
		},
		{
			name: "a window in memory, and a restart", setting: restarts, kind: refusedSender, class: verify.Invalid,
			protocol: plain(right.bounds, true),
		},
		{
			name: "the same with nobody sending", setting: alone, checkRestarts: true, kind: changedByRestart, class: verify.Invalid,
			protocol: plain(right.bounds, true),
		},
		{
			name: "revoked before the senders changed over", setting: right, kind: refusedSender, class: verify.Revoked,
			protocol: with(staged(right.bounds), func(p *protocol) { p.ending, p.endWait = revoke, tick }),
		},
		{
			name: "retired before the senders changed over", setting: right, kind: refusedSender, class: verify.Expired,
			protocol: with(staged(right.bounds), func(p *protocol) { p.endWait = 2 * tick }),
		},
		{
			name: "retired before the promotion reached everyone", setting: quiet, kind: outlived,
			protocol: with(staged(right.bounds), func(p *protocol) {
				p.overlap, p.endWait, p.window = 4*tick, tick, rotation.Window{Overlap: 9 * tick}
			}),
		},
		{
			name: "two rotations in one overlap, with room for one previous token", setting: with2(right), kind: refusedSender, class: verify.Expired,
			protocol: with(staged(right.bounds), func(p *protocol) { p.ending, p.endWait, p.rest, p.stageWait = leave, 0, 0, 21*second }),
		},
		{
			name: "plain replacements that follow faster than a receiver looks", setting: with2(right), kind: refusedSender, class: verify.Invalid,
			protocol: with(plain(with2(right).bounds, true), func(p *protocol) { p.stageWait, p.rest = 0, tick; p.senderWait = 2 * tick }),
		},
	}
}

// TestRecordedRetirementReachesEverybody lists the digest of the retired token in
// the source. A receiver that missed the promotion then does not remember the token,
// so no receiver accepts it past the operator's deadline.
func TestRecordedRetirementReachesEverybody(t *testing.T) {
	t.Parallel()
	for _, b := range badOrders() {
		if b.name == "retired before the promotion reached everyone" {
			b.protocol.ending = record
			f := b.setting.explore(t, b.protocol)
			f.holds(t, f.histories)
			return
		}
	}
	t.Fatal("no bad order has this name")
}

// with2 returns s with two rotations, and delays that let a sender fall two
// tokens behind.
func with2(s setting) setting {
	s.rotations, s.propagation, s.change = 2, tick, 4*tick
	return s
}

// TestModelFindsBadOrders breaks one rule at a time. Each bad order must cause its
// own kind of violation, and its simplest bad history must equal the one in README.md.
func TestModelFindsBadOrders(t *testing.T) {
	t.Parallel()
	golden := goldens(t)
	for _, b := range badOrders() {
		t.Run(b.name, func(t *testing.T) {
			t.Parallel()
			f := explore(t, func(tape *tape) *world {
				w := b.protocol.world(b.setting.conditions(tape, b.protocol), b.setting.bounds)
				w.checkRestarts = b.checkRestarts
				return w
			})
			f.finds(t, b.kind, b.class, golden[b.name])
		})
	}
}
