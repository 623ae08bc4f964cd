// Package poll waits for conditions with a deadline, so that no test sleeps in
// the hope that something has happened by then.
package poll

import (
	"testing"
	"time"
)

// Interval is the time between two looks at a condition.
const Interval = 10 * time.Millisecond

// Until returns as soon as cond holds and ends the test when it does not
// within the given time. It reports how long it took.
func Until(tb testing.TB, within time.Duration, what string, cond func() bool) time.Duration {
	tb.Helper()
	started := time.Now()
	tick := time.NewTicker(Interval)
	defer tick.Stop()
	for !cond() {
		if time.Since(started) > within {
			tb.Fatalf("not within %v: %s", within, what)
		}
		<-tick.C
	}
	return time.Since(started)
}

// Throughout ends the test at the first look at which cond does not hold, and
// returns when it held at each look until the given time.
func Throughout(tb testing.TB, until time.Time, what string, cond func() bool) {
	tb.Helper()
	tick := time.NewTicker(Interval)
	defer tick.Stop()
	for time.Now().Before(until) {
		if !cond() {
			tb.Fatalf("no longer, %v too early: %s", time.Until(until).Round(time.Millisecond), what)
		}
		<-tick.C
	}
}
