package agent_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/tokenagent/tokenagent/agent"
	"github.com/tokenagent/tokenagent/internal/witness"
)

// TestGroupSharesOneInotifyInstance: of a hundred Agents each sees its own swap
// by an event. It is not parallel, since others have instances, too.
func TestGroupSharesOneInotifyInstance(t *testing.T) { //nolint:paralleltest // counts what the process has
	before := witness.Inotify(t)
	var g agent.Group
	agents, paths := make([]*agent.Agent, 100), make([]string, 100)
	for i := range agents {
		paths[i] = file(t, tokenN(i))
		agents[i] = start(t, agent.Config{TokenFile: paths[i], Name: fmt.Sprintf("t%d", i), Poll: time.Hour, Debounce: time.Hour, Group: &g})
	}
	for i, a := range agents {
		eventually(t, a, "it watches", func() bool { return a.Status().Sources[0].WatchMode == "events" })
		replace(t, paths[i], tokenN(1000+i))
		eventually(t, a, "the swap", func() bool { return accepts(a, tokenN(1000+i)) })
	}
	if got := witness.Inotify(t) - before; got != 1 {
		t.Errorf("%d inotify instances", got)
	}
	// One that leaves takes nothing away from the others.
	_ = agents[0].Close()
	replace(t, paths[1], tokenN(2001))
	eventually(t, agents[1], "the swap, after another has left", func() bool { return accepts(agents[1], tokenN(2001)) })
	for _, a := range agents {
		_ = a.Close()
	}
	if got := witness.Inotify(t) - before; got != 0 {
		t.Errorf("%d inotify instances left", got)
	}
}

func TestGroupNamesDiffer(t *testing.T) {
	t.Parallel()
	var g agent.Group
	cfg := agent.Config{TokenFile: file(t, tokenN(0)), Name: "orders", Poll: -1, Group: &g}
	a := start(t, cfg)
	if _, err := agent.Start(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), `"orders"`) {
		t.Errorf("a second of that name: %v", err)
	}
	bad := cfg
	bad.Name, bad.TokenFile = "other", cfg.TokenFile+".none"
	if _, err := agent.Start(t.Context(), bad); err == nil {
		t.Fatal("started without a source")
	}
	bad.TokenFile = cfg.TokenFile
	_ = start(t, bad) // the name was given back
	_ = a.Close()
	_ = start(t, cfg)
}

// TestGroupMetrics: one registry takes all of them; the refusals, which name no
// source, are summed and never run backwards, whoever leaves or is succeeded.
func TestGroupMetrics(t *testing.T) {
	t.Parallel()
	var g agent.Group
	r := prometheus.NewPedanticRegistry()
	r.MustRegister(&g)
	cfg := agent.Config{TokenFile: file(t, tokenN(0)), Name: "a", Poll: -1, Group: &g}
	a := start(t, cfg)
	b := start(t, agent.Config{TokenFile: file(t, tokenN(1)), Name: "b", Poll: -1, Group: &g})
	keysOnly := signedBy(file(t, newIssuer(t).public))
	keysOnly.KeyName, keysOnly.Group = "c", &g
	keys := start(t, keysOnly)
	class(a, tokenN(0))
	for _, x := range []*agent.Agent{a, b, b, keys} {
		class(x, tokenN(9))
	}
	check := func(okA, invalid float64) {
		t.Helper()
		families, err := r.Gather()
		if err != nil {
			t.Fatal(err)
		}
		got := make(map[string]float64)
		for _, f := range families {
			for _, m := range f.GetMetric() {
				words := []string{f.GetName()}
				for _, l := range m.GetLabel() {
					words = append(words, l.GetValue())
				}
				got[strings.Join(words, " ")] = m.GetCounter().GetValue()
			}
		}
		// By label name: method, result, slot, source.
		if ok, no := got["tokenagent_verifications_total token ok current a"], got["tokenagent_verifications_total token invalid  "]; ok != okA || no != invalid {
			t.Errorf("%v accepted of a and %v invalid, want %v and %v", ok, no, okA, invalid)
		}
	}
	check(1, 3)
	cfg.Predecessor = a
	next := start(t, cfg)
	check(1, 3)
	_ = a.Close()
	class(next, tokenN(0))
	class(next, tokenN(9))
	check(2, 4)
	_ = b.Close()
	check(2, 4)
	// A successor that has no tokens any more does not count them.
	other := signedBy(file(t, newIssuer(t).public))
	other.KeyName, other.Group, other.Predecessor = "a", &g, next
	back := start(t, other)
	check(0, 4)
	class(back, tokenN(9))
	signed := refusedAs(t, r, "jwt")
	_ = back.Close()
	check(2, 4)
	if got := refusedAs(t, r, "jwt"); signed == 0 || got != signed {
		t.Errorf("%v refused signed tokens, and %v before", got, signed)
	}
	back = start(t, other)
	_ = next.Close()
	check(0, 4)
	_ = back.Close()
	check(0, 4)
	if n := testutil.CollectAndCount(&g, "tokenagent_build_info"); n != 1 {
		t.Errorf("%d build_info", n)
	}
	if n := testutil.CollectAndCount(&g, "tokenagent_generation"); n != 1 {
		t.Errorf("generation of %d sources, want that of the keys", n)
	}
}

// refusedAs sums what r says of refusals by a method.
func refusedAs(t *testing.T, r *prometheus.Registry, method string) (sum float64) {
	t.Helper()
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if l := m.GetLabel(); f.GetName() == "tokenagent_verifications_total" && l[0].GetValue() == method && l[1].GetValue() != "ok" {
				sum += m.GetCounter().GetValue()
			}
		}
	}
	return sum
}
