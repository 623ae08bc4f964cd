package plan

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/spf13/cobra"

	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/fail"
)

// run runs the command as the root command does, with few rotations.
func run(ctx context.Context, args ...string) (stdout, stderr string, err error) {
	var out, errs bytes.Buffer
	cmd := Command()
	cmd.SilenceErrors, cmd.SilenceUsage = true, true
	cmd.Args = cobra.NoArgs
	if !slices.Contains(args, "--rotations") {
		args = append(args, "--rotations", "50")
	}
	cmd.SetArgs(args)
	cmd.SetOut(&out)
	cmd.SetErr(&errs)
	err = cmd.ExecuteContext(ctx)
	return out.String(), errs.String(), err
}

func must(t *testing.T, args string) string {
	t.Helper()
	out, errs, err := run(t.Context(), strings.Fields(args)...)
	for line := range strings.Lines(errs) {
		if !strings.HasPrefix(line, "tokenagent: simulated ") { // a slow machine
			t.Errorf("stderr: %s", line)
		}
	}
	if err != nil {
		t.Fatalf("plan %s: %v\n%s", args, err, errs)
	}
	for line := range strings.Lines(out) {
		if strings.Contains(line, "\x1b") || strings.HasSuffix(strings.TrimSuffix(line, "\n"), " ") {
			t.Errorf("line %q", line)
		}
	}
	return out
}

func inJSON(t *testing.T, args string) answer {
	t.Helper()
	var a answer
	if err := json.Unmarshal([]byte(must(t, args+" --output json")), &a); err != nil {
		t.Fatal(err)
	}
	return a
}

// What the operator is told, case by case.
func TestAdvice(t *testing.T) {
	for args, want := range map[string][]string{
		"": {
			"stage wait 1m45s, overlap 11m: safe\n", "1. kubectl get secret NAME -o json | tokenagent rotate stage | kubectl replace -f -\n", "2. wait 1m45s\n", " | tokenagent rotate promote --overlap 11m | ",
			"4. restart the senders; the last one must be done within 10m\n", " | tokenagent rotate retire | ", "is assumed: say --sender-restart",
		},
		"--sender-restart uniform:0s..30m --kubelet-sync 10s --watch events": {
			"stage wait 20s, overlap 31m: safe", "--overlap 31m | ", "done within 30m\n", "agents see events",
		},
		"--detection cache --cache-ttl 5m":               {"stage wait 6m45s, overlap 11m: safe", "cache TTL 5m"},
		"--kubelet-sync 0s":                              {"stage wait 15s, overlap 11m: safe", "a file, agents poll every 10s", "1. tokenagent rotate stage PATH\n", "3. tokenagent rotate promote --overlap 11m PATH\n", "6. tokenagent rotate retire PATH\n"},
		"--sender exec":                                  {"stage wait 1m45s, overlap 2m20s: safe", "tokenagent exec --restart-delay 2m\n", "exec, delay 2m, restart uniform:0s..10s"},
		"--sender exec --kubelet-sync 0s":                {"stage wait 15s, overlap 30s: safe", "--restart-delay 15s\n"},
		"--sender exec --restart-delay 0s":               {"overlap 2m5s: safe", "--restart-delay 0s\n"},
		"--sender exec --newcomers 0":                    {"stage wait 0s, overlap 4m5s: safe", "rotate stage | kubectl replace -f -\n  2. kubectl get secret NAME -o json | tokenagent rotate promote --overlap 4m5s | kubectl replace -f -\n"},
		"--sender exec --newcomers 0 --protocol now":     {"overlap 4m5s: safe", "1. kubectl get secret NAME -o json | tokenagent rotate now --overlap 4m5s | kubectl replace -f -\n"},
		"--sender transport":                             {"overlap 1m55s: safe", "senders change over by themselves\n"},
		"--overlap 5m":                                   {"NOT SAFE: a rotation refuses something with a chance of 8", "--overlap 5m is too short: 11m is safe", "promote --overlap 5m | "},
		"--stage-wait 30s":                               {"NOT SAFE", "--stage-wait 30s is too short: 1m45s is safe", "2. wait 30s\n"},
		"--overlap 606s":                                 {"overlap 10m6s: NOT SAFE, though none of 50 simulated rotations refuses anything\n", "none seen"},
		"--overlap 20m --stage-wait 5m":                  {"stage wait 5m, overlap 20m: safe"},
		"--protocol now --receivers 1000":                {"overlap 11m: NOT SAFE: a rotation refuses something with a chance of over 99.9%", "without staging no overlap is safe", "up to 1m43s", "rotate now --overlap 11m | "},
		"--protocol replace":                             {"overlap 11m: NOT SAFE", "1. run the agents, or the apps that embed them, with --overlap 11m\n", "--state-file"},
		"--protocol replace --sliding":                   {"overlap 11m, capped at 11m: NOT SAFE", "--overlap 11m --max-overlap 11m\n"},
		"--protocol replace --sliding --max-overlap 30m": {"capped at 30m", "--overlap 11m --max-overlap 30m\n"},
		"--protocol replace --sliding --overlap 2m":      {"overlap 2m, capped at 11m: NOT SAFE", "--overlap 2m is too short: 11m is safe", "--overlap 2m --max-overlap 11m\n"},
		"--sender-restart exponential:10m": {
			"stage wait 1m45s, overlap 2h37m: NOT SAFE, but a rotation refuses anything with a chance of 1e-06 at most\n", "no overlap is safe: --sender-restart exponential:10m has no upper limit; restart what is left at a fixed time",
			"for a risk of 1e-06 (--risk)", "for a risk of 0.01: stage wait 1m44s, overlap 1h4m5s\n", "4. restart the senders\n",
		},
		"--sender-restart exponential:10m --overlap 20m":           {"NOT SAFE: a rotation refuses something with a chance of"},
		"--sender-restart normal:10m,1m --risk 0.01":               {"no overlap is safe", "for a risk of 0.01 (--risk)"},
		"--delivery exponential:1m":                                {"no stage wait is safe: --delivery exponential:1m has no upper limit"},
		"--delivery normal:1m,5s --sender exec":                    {"no stage wait and no overlap is safe: --delivery normal:1m,5s has"},
		"--delivery normal:1m,5s --sender exec --protocol replace": {"no overlap is safe: --delivery normal:1m,5s has"},
	} {
		out := must(t, args)
		for _, text := range want {
			if !strings.Contains(out, text) {
				t.Errorf("plan %s: %q is missing in\n%s", args, text, out)
			}
		}
	}
}

func TestSamples(t *testing.T) {
	name := filepath.Join(t.TempDir(), "restarts")
	if err := os.WriteFile(name, []byte("# of last month\n1m\n5m\n\n2m30s\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	a := inJSON(t, "--sender-restart samples:"+name)
	if *a.Limits.LastUse != 305 || *a.Limits.Overlap != 307 || *a.Advised.Overlap != 310 || a.Assumed.SenderRestart != "samples (3)" || !a.Safe {
		t.Errorf("%+v", a)
	}
	if _, _, err := run(t.Context(), "--sender-restart", "samples:"+name+"-none"); fail.Code(err) != 1 {
		t.Errorf("no file: %v", err)
	}
}

// The names of the answer stay; what is given is what was asked for.
func TestJSON(t *testing.T) {
	var v any
	if err := json.Unmarshal([]byte(must(t, "--protocol replace --sliding --sender-restart exponential:1m --output json")), &v); err != nil {
		t.Fatal(err)
	}
	names := map[string]bool{}
	var walk func(at string, v any)
	walk = func(at string, v any) {
		switch v := v.(type) {
		case map[string]any:
			for name, of := range v {
				walk(at+"."+name, of)
			}
		case []any:
			for _, of := range v {
				walk(at+"[]", of)
			}
		default:
			names[at] = true
		}
	}
	walk("", v)
	chances := " .overlap_seconds .max_overlap_seconds .stage_wait_seconds .safe .chance .chance_new_token .chance_old_token .refused_new_token .refused_old_token .refused_share"
	times := " .stage_wait_seconds .overlap_seconds .max_overlap_seconds"
	spreads := " .p50 .p95 .p99 .max"
	want := []string{".schema", ".protocol", ".safe", ".within_risk", ".bounded", ".notes[]", ".next[]"}
	for at, under := range map[string]string{
		".assumed": " .receivers .senders .newcomers .delivery .kubelet_sync_seconds .cache_ttl_seconds .poll_interval_seconds .debounce_seconds" +
			" .sender .sender_restart .restart_delay_seconds .in_flight_seconds .clock_skew_seconds .request_rate .sliding .risk",
		".limits":                                " .propagation_seconds .last_use_seconds" + times,
		".advised":                               times,
		".risks[]":                               " .risk" + times,
		".chosen":                                chances,
		".chances[]":                             chances,
		".simulation":                            " .rotations .seed",
		".simulation.needed_stage_wait_seconds":  spreads,
		".simulation.needed_overlap_seconds":     spreads,
		".simulation.propagation_seconds":        spreads,
		".simulation.last_use_seconds":           spreads,
		".simulation.propagation_seconds.bins[]": " .from_seconds .to_seconds .share",
		".simulation.last_use_seconds.bins[]":    " .from_seconds .to_seconds .share",
	} {
		for name := range strings.FieldsSeq(under) {
			want = append(want, at+name)
		}
	}
	slices.Sort(want)
	if got := slices.Sorted(maps.Keys(names)); !slices.Equal(got, want) {
		for _, name := range got {
			if !slices.Contains(want, name) {
				t.Errorf("%s is new", name)
			}
		}
		for _, name := range want {
			if !slices.Contains(got, name) {
				t.Errorf("%s is missing", name)
			}
		}
	}

	a := inJSON(t, "--sender-restart exponential:1m --overlap 3m --receivers 7 --senders 9 --seed 5 --rotations 25")
	if a.Schema != 1 || a.Safe || a.Bounded || a.Limits.Overlap != nil || a.Limits.StageWait == nil || *a.Chosen.Overlap != 180 || len(a.Risks) != 3 || a.WithinRisk ||
		a.Assumed.Receivers != 7 || a.Assumed.Senders != 9 || a.Simulation.Seed != 5 || a.Simulation.Rotations != 25 || a.Chosen.Any <= 0 {
		t.Errorf("%+v", a)
	}
	for _, s := range []shape{a.Simulation.Propagation, a.Simulation.LastUse} {
		sum := 0.0
		for _, b := range s.Bins {
			sum += b.Share
		}
		if sum < 0.9999 || sum > 1.0001 || len(s.Bins) != bins || s.Half > s.P95 || s.P95 > s.P99 || s.P99 > s.Most {
			t.Errorf("%+v adds up to %g", s, sum)
		}
	}
	for overlap, within := range map[string]bool{"": true, " --overlap 12m": false, " --overlap 16m10s": true, " --stage-wait 1m": false} {
		if a := inJSON(t, "--sender-restart exponential:1m"+overlap); a.Safe || a.WithinRisk != within {
			t.Errorf("overlap %s: %+v", overlap, a)
		}
	}
	if a := inJSON(t, ""); !a.Safe || !a.WithinRisk || !a.Bounded || a.Risks != nil || a.Limits.MaxOverlap != nil || !a.Chosen.Safe || a.Chosen.Any != 0 || a.Chances[0].Safe {
		t.Errorf("%+v", a)
	}
}

// Without staging the chance is never zero, and grows with the receivers.
func TestUnstagedIsNeverSafe(t *testing.T) {
	before := 0.0
	for _, n := range []string{"1", "3", "30", "1000"} {
		a := inJSON(t, "--protocol now --overlap 12h --request-rate 0.001 --newcomers 1 --sender-restart fixed:2h --rotations 400 --receivers "+n)
		if a.Safe || a.Chosen.New <= 0 || a.Chosen.Any < before*0.8 || a.Chosen.Old != 0 {
			t.Errorf("%s receivers: %+v", n, a.Chosen)
		}
		before = a.Chosen.Any
	}
}

func TestUsage(t *testing.T) {
	for args, says := range map[string]string{
		"--output yaml":                       "--output must be text or json",
		"--protocol x":                        "--protocol must be staged, now or replace",
		"--detection x":                       "--detection must be watch, cache or get",
		"--watch x":                           "--watch must be poll or events",
		"--sender x":                          "--sender must be restart, exec or transport",
		"--receivers 0":                       "--receivers must be from 1 to 100000",
		"--receivers 100001":                  "--receivers must be from 1 to 100000",
		"--senders 0":                         "--senders must be from 1 to 100000",
		"--newcomers -1":                      "--newcomers must be from 0 to 100000",
		"--rotations -1":                      "--rotations must be from 0 to 100000",
		"--request-rate 0":                    "--request-rate must be above 0",
		"--request-rate NaN":                  "--request-rate must be above 0",
		"--request-rate Inf":                  "--request-rate must be above 0",
		"--risk 0":                            "--risk must be a chance from 1e-12",
		"--risk 1":                            "--risk must be a chance from 1e-12",
		"--risk NaN":                          "--risk must be a chance from 1e-12",
		"--kubelet-sync -1s":                  "--kubelet-sync must be from 0s to 720h",
		"--detection cache --cache-ttl 721h":  "--cache-ttl must be from 0s to 720h",
		"--poll-interval -1s":                 "--poll-interval must be from 0s to 720h",
		"--poll-interval 0s":                  "--poll-interval must be above 0s; where agents do not poll, say --watch events",
		"--debounce -1s":                      "--debounce must be",
		"--sender exec --restart-delay -1s":   "--restart-delay must be",
		"--in-flight 800h":                    "--in-flight must be",
		"--clock-skew -1s":                    "--clock-skew must be",
		"--stage-wait -1s":                    "--stage-wait must be",
		"--overlap -1s":                       "--overlap must be",
		"--protocol now --stage-wait 1s":      "--stage-wait goes with --protocol staged; say so, or leave it out",
		"--sliding":                           "--sliding goes with --protocol replace",
		"--protocol replace --max-overlap 1h": "--max-overlap goes with --protocol replace and --sliding",
		"--protocol replace --sliding --max-overlap 1m":  "--max-overlap is shorter than the overlap, 11m; say at least as much",
		"--protocol replace --sliding --max-overlap -1s": "--max-overlap must be",
		"--kubelet-sync 0s --detection get":              "--detection goes with a kubelet",
		"--cache-ttl 1m":                                 "--cache-ttl goes with --detection cache",
		"--watch events --poll-interval 1s":              "--poll-interval goes with --watch poll",
		"--restart-delay 1s":                             "--restart-delay goes with --sender exec",
		"--sender transport --sender-restart fixed:1s":   "--sender-restart goes with --sender restart or exec; a transport needs no restart",
		"--sender-restart 10m":                           "--sender-restart has the form fixed:D, uniform:D..D",
		"--sender-restart=":                              "--sender-restart has the form",
		"--delivery uniform:2s..1s":                      "--delivery: uniform ends before it begins",
	} {
		out, errs, err := run(t.Context(), strings.Fields(args)...)
		if fail.Code(err) != 2 || !strings.Contains(err.Error(), says) || out != "" || errs != "" {
			t.Errorf("plan %s: %v; want %q\n%s%s", args, err, says, out, errs)
		}
	}
	for _, name := range []string{"protocol", "detection", "watch", "sender", "sender-restart", "delivery", "output"} {
		for _, value := range []string{canary, "fixed:" + canary, "uniform:1s.." + canary} {
			if _, _, err := run(t.Context(), "--"+name, value); err == nil || strings.Contains(err.Error(), "CANARY") {
				t.Errorf("--%s: %v", name, err)
			}
		}
	}
}

// The same seed gives the same answer, however many processors there are.
func TestDeterministic(t *testing.T) {
	for _, args := range []string{"--receivers 50", "--protocol replace --sliding --overlap 10s --max-overlap 5m", "--sender exec --overlap 1m"} {
		first := must(t, args+" --output json")
		before := runtime.GOMAXPROCS(1)
		again := must(t, args+" --output json")
		runtime.GOMAXPROCS(before)
		if first != again {
			t.Errorf("plan %s: the second answer differs:\n%s\n%s", args, first, again)
		}
		if must(t, args+" --seed 2 --output json") == first {
			t.Errorf("plan %s: another seed changes nothing", args)
		}
	}
}

func TestInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	out, _, err := run(ctx, "--receivers", "1000")
	if !errors.Is(err, context.Canceled) || fail.Code(err) != 1 || out != "" {
		t.Errorf("%v, printed %q", err, out)
	}
}

// Nothing is told in the first second; then plain lines, or one that is
// overwritten and taken away at the end.
func TestProgress(t *testing.T) {
	for _, live := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			var out bytes.Buffer
			p := newProgress(&out, 100)
			p.live = live
			for i := range 100 {
				time.Sleep(50 * time.Millisecond)
				p.report(i + 1)
				if i == 18 && out.Len() > 0 {
					t.Errorf("told %q within a second", out.String())
				}
			}
			p.end()
			lines := func(format string, at ...int) string {
				var s strings.Builder
				for _, n := range at {
					fmt.Fprintf(&s, format, n)
				}
				return s.String()
			}
			want := lines("tokenagent: simulated %d of 100 rotations\n", 20, 60)
			if live {
				want = lines("\rtokenagent: simulated %d of 100 rotations", 20, 24, 28, 32, 36, 40, 44, 48, 52, 56, 60, 64, 68, 72, 76, 80, 84, 88, 92, 96) + "\r" + strings.Repeat(" ", 41) + "\r"
			}
			if out.String() != want {
				t.Errorf("%q, want %q", out.String(), want)
			}
		})
	}
}

func TestRotationsFor(t *testing.T) {
	for n, want := range map[int]int{1: 1000, 1000: 1000, 20_000: 500, 100_000: 100} {
		if got := rotationsFor(&model{receivers: n, senders: n}); got != want {
			t.Errorf("%d receivers: %d rotations, want %d", n, got, want)
		}
	}
}
