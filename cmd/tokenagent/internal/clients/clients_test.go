package clients_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/tokenagent/tokenagent/agent"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/clients"
)

func TestGroup(t *testing.T) {
	t.Parallel()
	now := time.Date(2027, 3, 1, 12, 0, 0, 0, time.UTC)
	ago := func(d time.Duration) time.Time { return now.Add(-d) }
	const old = 2 * clients.Month
	all := clients.Group([]agent.TokenStatus{
		{Slot: "current", Since: ago(old)},
		{Slot: "current", Client: "busy", Since: ago(old), LastUsed: ago(time.Minute)},
		{Slot: "current", Client: "idle", Since: ago(time.Hour), LastUsed: ago(clients.Month)},
		{Slot: "current", Client: "late", Since: ago(old), LastUsed: ago(time.Hour)},
		{Slot: "current", Client: "moved", Since: ago(time.Hour)},
		{Slot: "current", Client: "never", Since: ago(old)},
		{Slot: "current", Client: "new", Since: ago(time.Hour)},
		{Slot: "current", Client: "staged", Since: ago(old)},
		{Slot: "current", Client: "unknown"},
		{Slot: "next", Client: "late", Since: ago(time.Hour)},
		{Slot: "next", Client: "staged", Since: ago(time.Hour)},
		{Slot: "previous", Client: "late", Since: ago(time.Hour), LastUsed: ago(time.Minute)},
		// The slot was used in an earlier rotation, and not since.
		{Slot: "previous", Client: "moved", Since: ago(time.Hour), LastUsed: ago(2 * time.Hour)},
	}, now)
	var got []string
	for _, c := range all {
		row := []string{fmt.Sprintf("%d %s", c.Need, c.Name)}
		for _, token := range c.Tokens {
			row = append(row, token.Slot)
			if token.Client != c.Name {
				t.Errorf("client %q has a token of %q", c.Name, token.Client)
			}
		}
		got = append(got, strings.Join(row, " "))
	}
	want := []string{
		"0 late current next previous", "1 staged current next", "2 idle current", "2 never current",
		"3  current", "3 busy current", "3 moved current previous", "3 new current", "3 unknown current",
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if got, want := clients.Summary(all), "8 named clients, 1 with an old token in use, 1 with a staged token, 2 unused for a month"; got != want {
		t.Errorf("%q; want %q", got, want)
	}
}

func TestSummaryOfFew(t *testing.T) {
	t.Parallel()
	for want, tokens := range map[string][]agent.TokenStatus{
		"":               {{Slot: "current"}, {Slot: "next"}},
		"1 named client": {{Slot: "current"}, {Slot: "next"}, {Slot: "current", Client: "ci"}},
	} {
		if got := clients.Summary(clients.Group(tokens, time.Now())); got != want {
			t.Errorf("%q; want %q", got, want)
		}
	}
	if all := clients.Group(nil, time.Now()); all != nil {
		t.Errorf("no tokens: %+v", all)
	}
}
