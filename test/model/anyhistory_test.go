package model

import (
	"slices"
	"testing"
	"time"

	"github.com/tokenagent/tokenagent/internal/rotation"
)

// anyHistory returns a function that makes histories without senders. The operator
// publishes any three versions of the menu, quickly or slowly. The tape also chooses
// when the receiver sees them, and how it restarts.
func anyHistory(menu func(at time.Duration) []version, ways []restart) func(*tape) *world {
	return func(t *tape) *world {
		w := &world{
			window: rotation.Window{Overlap: 3 * tick}, checkRestarts: true,
			versions: []version{{step: "begin", current: a}},
			reached:  time.Hour, // too late to check a deadline that a later version withdraws
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

// exploreMenu explores every history of menu. Unless -short is set, it includes
// restarts with a state file.
func exploreMenu(t *testing.T, menu func(at time.Duration) []version) {
	t.Helper()
	choices := power(len(menu(0)), 3)
	if testing.Short() {
		explore(t, anyHistory(menu, nil)).holds(t, 2*choices*8)
		return
	}
	explore(t, anyHistory(menu, kept[:1])).holds(t, 2*choices*8*2)
}

const a, b, c = first, first + 1, first + 2

// TestP2_AnyVersions publishes versions in any order, with deadlines in the past and
// rotations back to an older token. No token is accepted past its deadline, every
// declared token is accepted, receivers agree in the end, and a restart with a state
// file changes no answer.
func TestP2_AnyVersions(t *testing.T) {
	t.Parallel()
	menu := func(at time.Duration) []version {
		return []version{
			{step: "go back", current: a},
			{step: "stage", current: a, next: b},
			{step: "promote", current: b, previous: []superseded{{a, at + 2*tick}}},
			{step: "promote with a past deadline", current: b, previous: []superseded{{a, at - tick}}},
			{step: "retire", current: c, retired: []token{a, b}},
			{step: "promote without a deadline", current: b, next: c, previous: []superseded{{token: a}}},
			{step: "promote twice", current: c, previous: []superseded{{a, at + 3*tick}, {b, at + tick}}},
		}
	}
	exploreMenu(t, menu)
}

// TestP3_RevokedInAnySlot: a receiver that has seen a token revoked refuses it until
// the source unrevokes it, in every slot that declares the token before or after the
// revocation.
func TestP3_RevokedInAnySlot(t *testing.T) {
	t.Parallel()
	menu := func(at time.Duration) []version {
		return []version{
			{step: "leave the revocation out", current: a, next: b},
			{step: "unrevoke", current: a, next: b, unrevoked: []token{a, b}},
			{step: "unrevoke both, revoke one", current: b, unrevoked: []token{a, b}, revoked: []token{a}},
			{step: "revoke the current", current: a, next: b, revoked: []token{a}},
			{step: "revoke the next", current: a, next: b, revoked: []token{b}},
			{step: "revoke the previous", current: b, previous: []superseded{{a, at + 4*tick}}, revoked: []token{a}},
			{step: "revoke tokens that are not declared", current: c, revoked: []token{a, b}},
		}
	}
	exploreMenu(t, menu)
}
