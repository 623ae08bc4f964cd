package report

import (
	"strings"
	"testing"

	"github.com/tokenagent/tokenagent/bench/internal/measure"
)

func TestTargets(t *testing.T) {
	t.Parallel()
	of := measure.Exactly
	for name, c := range map[string]struct {
		row Row
		met bool
	}{
		"half of the peer":           {Row{Ratio: of(0.5)}.AtMostOfPeer(0.5), true},
		"more than half of the peer": {Row{Ratio: of(0.51)}.AtMostOfPeer(0.5), false},
		"nothing measured":           {Row{}.AtMostOfPeer(0.5), false},
		"the peer has no figure":     {Row{Missed: "never"}.AtMostOfPeer(1), true},
		"twice the floor":            {Row{}.AtMostFloor(2, of(2)), true},
		"more than twice the floor":  {Row{}.AtMostFloor(2, of(2.1)), false},
		"no floor":                   {Row{}.AtMostFloor(2, measure.Estimate{}), false},
		"enough":                     {Row{}.AtLeast(1.8, 1.8, "x"), true},
		"too little":                 {Row{}.AtLeast(1.8, 1.7, "x"), false},
	} {
		if c.row.Met != c.met || c.row.Target == "" {
			t.Errorf("%s: met %v, want %v; target %q, want some text", name, c.row.Met, c.met, c.row.Target)
		}
	}
}

func TestTableShowsMissedAndUnmet(t *testing.T) {
	t.Parallel()
	all := []Results{{Title: "A", Rows: []Row{
		{What: "one", Ours: measure.Exactly(12.3), Peer: measure.Exactly(1e6), PeerName: "them", Ratio: measure.Exactly(0.0000123)},
		Row{What: "two", Ours: measure.Exactly(3), PeerName: "them", Missed: "not within 2s"}.AtMost(2, 3, "at most 2"),
	}}}
	var b strings.Builder
	if err := Table(&b, all); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"12.3 ns", "1.00 ms", "1/81301", "not within 2s", "NO"} {
		if !strings.Contains(b.String(), want) || !strings.Contains(Markdown(all), want) {
			t.Errorf("%q is missing in one of\n%s\n%s", want, b.String(), Markdown(all))
		}
	}
	if n, unmet := Unmet(all); n != 1 || len(unmet) != 1 {
		t.Errorf("%d targets, not reached: %v; want 1 target that is not reached", n, unmet)
	}
}
