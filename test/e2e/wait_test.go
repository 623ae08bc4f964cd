package e2e

import (
	"testing"
	"time"
)

// pollInterval is the time between two checks of a condition.
const pollInterval = 10 * time.Millisecond

// waitFor waits until cond holds, and returns how long that took. It ends the test if
// cond does not hold within the given time.
func waitFor(tb testing.TB, within time.Duration, what string, cond func() bool) time.Duration {
	tb.Helper()
	started := time.Now()
	tick := time.NewTicker(pollInterval)
	defer tick.Stop()
	for !cond() {
		if time.Since(started) > within {
			tb.Fatalf("not within %v: %s", within, what)
		}
		<-tick.C
	}
	return time.Since(started)
}

// throughout checks that cond holds until the given time.
func throughout(tb testing.TB, until time.Time, what string, cond func() bool) {
	tb.Helper()
	tick := time.NewTicker(pollInterval)
	defer tick.Stop()
	for time.Now().Before(until) {
		if !cond() {
			tb.Fatalf("no longer true, %v too early: %s", time.Until(until).Round(time.Millisecond), what)
		}
		<-tick.C
	}
}
