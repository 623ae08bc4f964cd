package model

import (
	"slices"
	"testing"
	"time"

	"github.com/tokenagent/tokenagent/internal/rotation"
)

// whatever returns a maker of histories in which the operator publishes any three
// things out of the menu, at leisure or in a hurry, with no sender to think of.
// How they reach a receiver and when that restarts is anything, too.
func whatever(menu func(at time.Duration) []version, ways []restart) func(*tape) *world {
	return func(t *tape) *world {
		w := &world{
			window: rotation.Window{Overlap: 3 * tick}, restartsShow: true,
			versions: []version{{step: "begin", current: a}},
			reached:  time.Hour, // nothing is promised about deadlines that were taken back
		}
		at, pause := 2*tick, tick+2*tick*time.Duration(t.pick(2))
		for range 3 {
			choices := menu(at)
			v := choices[t.pick(len(choices))]
			v.at = at
			w.versions = append(w.versions, v)
			at += pause
		}
		last := w.versions[3].at
		w.settled, w.end = last+2*tick, last+12*tick
		r := receiver{sees: []sight{{0, 0}}}
		for v := 1; v <= 3; v++ {
			r.sees = append(r.sees, sight{w.versions[v].at + 2*tick*time.Duration(t.pick(2)), v})
		}
		slices.SortStableFunc(r.sees, func(a, b sight) int { return int(a.at - b.at) })
		if n := t.pick(1 + len(ways)); n > 0 {
			x := ways[n-1]
			x.at = w.versions[2].at + tick/2
			r.restarts = []restart{x}
		}
		w.receivers = []receiver{r}
		w.weight = t.weight()
		return w
	}
}

// anyOf explores whatever comes of menu, restarts with a state file among it.
func anyOf(t *testing.T, menu func(at time.Duration) []version) {
	t.Helper()
	choices := power(len(menu(0)), 3)
	if testing.Short() {
		explore(t, whatever(menu, nil)).holds(t, 2*choices*8)
		return
	}
	explore(t, whatever(menu, kept[:1])).holds(t, 2*choices*8*2)
}

const a, b, c = first, first + 1, first + 2

// TestP2_WhateverIsPublished: whoever publishes what in which order, deadlines in
// the past and rotations back among it, nothing is accepted past a deadline, what
// is granted is accepted, receivers come to agree, and a restart with a state file
// changes nothing.
func TestP2_WhateverIsPublished(t *testing.T) {
	t.Parallel()
	menu := func(at time.Duration) []version {
		return []version{
			{step: "go back", current: a},
			{step: "stage", current: a, next: b},
			{step: "promote", current: b, previous: []superseded{{a, at + 2*tick}}},
			{step: "promote late", current: b, previous: []superseded{{a, at - tick}}},
			{step: "retire", current: c, retired: []token{a, b}},
			{step: "promote for good", current: b, next: c, previous: []superseded{{token: a}}},
			{step: "go on", current: c, previous: []superseded{{a, at + 3*tick}, {b, at + tick}}},
		}
	}
	anyOf(t, menu)
}

// TestP3_RevokedWhateverIsPublished: a token that is revoked is refused by whoever
// has seen that, in whatever slot it is or was or will be declared, until it is
// unrevoked.
func TestP3_RevokedWhateverIsPublished(t *testing.T) {
	t.Parallel()
	menu := func(at time.Duration) []version {
		return []version{
			{step: "leave it out", current: a, next: b},
			{step: "unrevoke", current: a, next: b, unrevoked: []token{a, b}},
			{step: "unrevoke the one, revoke the other", current: b, unrevoked: []token{a, b}, revoked: []token{a}},
			{step: "revoke the current", current: a, next: b, revoked: []token{a}},
			{step: "revoke the next", current: a, next: b, revoked: []token{b}},
			{step: "revoke the previous", current: b, previous: []superseded{{a, at + 4*tick}}, revoked: []token{a}},
			{step: "revoke what is gone", current: c, revoked: []token{a, b}},
		}
	}
	anyOf(t, menu)
}
