package agent_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/tokenagent/tokenagent/agent"
)

// since returns how long the token in each slot of the first source has been there.
func since(a *agent.Agent, now time.Time) map[string]time.Duration {
	got := make(map[string]time.Duration)
	for _, t := range a.Status().Sources[0].Tokens {
		got[t.Slot] = now.Sub(t.Since).Truncate(time.Second)
	}
	return got
}

// TestStatusSaysSinceWhenATokenHasItsSlot: Since is the time at which a token entered its
// slot. Changes of other tokens do not move it.
func TestStatusSaysSinceWhenATokenHasItsSlot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		first, second, third := tokenN(1), tokenN(2), tokenN(3)
		t.Setenv("TOKEN", first)
		a := start(t, agent.Config{TokenEnv: "TOKEN", Overlap: time.Hour, Debounce: -1})
		change := func(content string) {
			t.Helper()
			time.Sleep(time.Minute)
			t.Setenv("TOKEN", content)
			if _, err := a.Reload(); err != nil {
				t.Fatal(err)
			}
		}
		if got := since(a, time.Now()); got["current"] != 0 {
			t.Errorf("at the start: %v", got)
		}
		change(first + "\n" + second + " next")
		if got := since(a, time.Now()); got["current"] != time.Minute || got["next"] != 0 {
			t.Errorf("staged: %v; want current for a minute, next from now", got)
		}
		change(second)
		if got := since(a, time.Now()); got["current"] != 0 || got["previous"] != 0 {
			t.Errorf("promoted: %v; want both from now", got)
		}
		change(second + "\n" + third)
		if got := since(a, time.Now()); got["current"] != time.Minute || got["previous"] != time.Minute || got["listed"] != 0 {
			t.Errorf("one more: %v; want the others as before", got)
		}
	})
}
