package plan

import (
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"

	"github.com/spf13/pflag"

	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/exitcode"
)

// randomArgs returns flags that fit together. Some values are extremes: durations of 0, and
// senders that all change in one moment.
func randomArgs(r *rand.Rand) string {
	var args []string
	flag := func(name string, values ...string) string {
		value := values[r.IntN(len(values))]
		args = append(args, "--"+name+" "+value)
		return value
	}
	odd := func() string { return strconv.Itoa(r.IntN(9999)) + "ms" } // most of them have no exact float
	protocol := flag("protocol", "staged", "now", "replace", "replace")
	if protocol == "replace" && r.IntN(3) > 0 {
		args = append(args, "--sliding")
	}
	flag("receivers", "1", "3", "20")
	flag("senders", "1", "3", "20")
	flag("newcomers", "0", "0", "2")
	flag("delivery", "fixed:0s", "fixed:"+odd(), "uniform:0s..2m")
	if flag("kubelet-sync", "0s", "0s", "1m") != "0s" && flag("detection", "watch", "cache") == "cache" {
		flag("cache-ttl", "0s", "1m")
	}
	if flag("watch", "poll", "events", "events") == "poll" {
		flag("poll-interval", "100ms", "10s")
	}
	flag("debounce", "0s", odd(), "1s")
	restarts := []string{"fixed:0s", "fixed:" + odd(), "fixed:5m", "uniform:0s..10s", "uniform:5m..5m", "uniform:1m..10m"}
	switch flag("sender", "restart", "exec", "transport") {
	case "exec":
		flag("restart-delay", "0s", odd(), "15s", "2m")
		flag("sender-restart", restarts...)
	case "restart":
		flag("sender-restart", restarts...)
	}
	flag("in-flight", "0s", "0s", "5s")
	flag("clock-skew", "0s", "1s", odd())
	flag("request-rate", "0.1", "3", "1000")
	flag("rotations", "20")
	flag("seed", strconv.Itoa(r.IntN(1000)))
	return strings.Join(args, " ")
}

// Times that the closed form calls safe refuse no request in the simulation.
func TestSafeMeansThatNothingIsRefused(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(12, 13))
	all := []string{ // whose sums of durations differ in the last bit of a float
		"--protocol replace --sliding --newcomers 0 --delivery fixed:8461ms --kubelet-sync 0s --watch events --sender exec --sender-restart fixed:4849ms --in-flight 0s --request-rate 1000 --rotations 20",
		"--protocol replace --newcomers 0 --delivery fixed:3876ms --kubelet-sync 0s --watch events --sender exec --sender-restart fixed:7440ms --in-flight 0s --rotations 20",
	}
	for range 600 {
		all = append(all, randomArgs(r))
	}
	safe, sliding := 0, 0
	for _, args := range all {
		f := new(flags)
		p := propose(t, f, args)
		// The exact limits too: rounded up, they would hide a little.
		exact := times{p.Chosen.StageWait, p.Limits.Overlap, p.Limits.MaxOverlap}
		settings := append(p.settings(), exact)
		res := rotate(t, &f.model, f.rotations, f.seed, settings...)
		for i, s := range settings {
			if !p.Limits.allow(s) {
				continue
			}
			safe++
			if f.Sliding {
				sliding++
			}
			if got := res.refused[i]; got != (refusal{requests: got.requests}) {
				t.Errorf("plan %s: %+v is safe, and refuses %+v", args, s, got)
			}
		}
		if f.Sliding && (p.Chosen.Overlap < shortestSliding || p.Chosen.MaxOverlap < p.Chosen.Overlap) {
			t.Errorf("plan %s: %+v is no window that slides", args, p.Chosen.times)
		}
		if !p.Limits.unstaged && !p.Limits.allow(p.Chosen.times) {
			t.Errorf("plan %s: %+v is advised, and is not safe by %+v", args, p.Chosen.times, p.Limits)
		}
	}
	if safe < 300 || sliding < 100 {
		t.Errorf("only %d settings were safe, %d of windows that slide", safe, sliding)
	}
}

func parse(t *testing.T, f *flags, args string) {
	t.Helper()
	fs := pflag.NewFlagSet("plan", pflag.ContinueOnError)
	f.add(fs)
	if err := fs.Parse(strings.Fields(args)); err != nil {
		t.Fatalf("plan %s: %v", args, err)
	}
}

// propose parses args and proposes times.
func propose(t *testing.T, f *flags, args string) *answer {
	t.Helper()
	parse(t, f, args)
	if err := f.read(); err != nil {
		t.Fatalf("plan %s: %v", args, err)
	}
	a, err := f.propose()
	if err != nil {
		t.Fatalf("plan %s: %v", args, err)
	}
	return a
}

// If all senders change in one moment, after every receiver knows the new token, the old
// token is never used after the new one. Still an overlap that slides cannot be 0s.
func TestSlidingNeedsAWindow(t *testing.T) {
	const args = "--protocol replace --sliding --newcomers 0 --kubelet-sync 0s --watch events --sender-restart fixed:5m --in-flight 0s"
	a := inJSON(t, args)
	equal(t, "one moment", map[string][2]any{
		"safe": {a.Safe, true}, "within risk": {a.WithinRisk, true}, "the limit": {a.Limits.Overlap, seconds(1)},
		"the advised overlap": {a.Advised.Overlap, seconds(5)}, "the chance": {a.Chosen.Any, 0.0},
	})
	for i, c := range a.Chances {
		if i > 0 && c.Overlap <= a.Chances[i-1].Overlap {
			t.Errorf("%+v comes twice", c)
		}
		if c.Safe != (c.Overlap >= 1) || c.Safe != (c.Any == 0) {
			t.Errorf("%+v", c)
		}
	}
	if out := must(t, args); !strings.Contains(out, "overlap 5s, capped at 5m: safe\n") || !strings.Contains(out, "--overlap 5s --max-overlap 5m\n") {
		t.Error(out)
	}
	out, _, err := run(t.Context(), strings.Fields(args+" --overlap 0s")...)
	if exitcode.Of(err) != 2 || !strings.Contains(err.Error(), "--sliding needs an overlap above 0s") || out != "" {
		t.Errorf("%v\n%s", err, out)
	}
}

// Times with which the simulation refuses something are never called safe.
func TestSimulationHasTheLastWord(t *testing.T) {
	f := new(flags)
	a := propose(t, f, "--rotations 20")
	all := a.settings()
	res := rotate(t, &f.model, f.rotations, f.seed, all...)
	a.Simulation = res.simulation
	a.judge(all, res.refused)
	equal(t, "nothing refused", map[string][2]any{
		"safe": {a.Safe, true}, "within risk": {a.WithinRisk, true}, "the choice is safe": {a.Chosen.Safe, true}, "the chance": {a.Chosen.any(), "none"},
	})
	for i := range res.refused {
		res.refused[i].Any = 0.25
	}
	a.Chances = nil
	a.judge(all, res.refused)
	equal(t, "something refused", map[string][2]any{
		"safe": {a.Safe, false}, "within risk": {a.WithinRisk, false}, "the choice is safe": {a.Chosen.Safe, false}, "the chance": {a.Chosen.any(), "25%"},
	})
	if text := a.text(); !strings.Contains(text, "NOT SAFE: a rotation refuses something with a chance of 25%") {
		t.Error(text)
	}
}

func TestPercent(t *testing.T) {
	for chance, want := range map[float64]string{
		0: "0", 1e-7: "under 0.0001%", 0.00012: "0.012%", 0.5: "50%", 0.994: "99%", 0.9966: "99.7%", 0.9991: "over 99.9%", 1: "over 99.9%",
	} {
		if got := percent(chance); got != want {
			t.Errorf("percent(%g) is %s, want %s", chance, got, want)
		}
	}
}
