package plan

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/exitcode"
	rotatecommand "github.com/tokenagent/tokenagent/cmd/tokenagent/internal/rotate"
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
	if errs != "" {
		t.Errorf("stderr: %s", errs)
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

// UnmarshalJSON reads null as +Inf, as MarshalJSON writes it.
func (s *seconds) UnmarshalJSON(text []byte) error {
	if string(text) == "null" {
		*s = seconds(math.Inf(1))
		return nil
	}
	return json.Unmarshal(text, (*float64)(s))
}

// equal reports each name whose two values differ.
func equal(t *testing.T, what string, values map[string][2]any) {
	t.Helper()
	for name, v := range values {
		if v[0] != v[1] {
			t.Errorf("%s: %s is %v, want %v", what, name, v[0], v[1])
		}
	}
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
			"4. restart the senders; the last one must be done within 10m\n", " | tokenagent rotate retire | ", "is assumed: give --sender-restart",
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
		"--protocol replace":                             {"overlap 11m: NOT SAFE", "1. run the agents, or the apps that embed them, with --overlap 11m --max-overlap=-1s\n", "--state-file"},
		"--protocol replace --sliding":                   {"overlap 11m, capped at 11m: NOT SAFE", "--overlap 11m --max-overlap 11m\n"},
		"--protocol replace --sliding --max-overlap 30m": {"capped at 30m", "--overlap 11m --max-overlap 30m\n"},
		"--protocol replace --sliding --overlap 2m":      {"overlap 2m, capped at 11m: NOT SAFE", "--overlap 2m is too short: 11m is safe", "--overlap 2m --max-overlap 11m\n"},
		"--sender-restart exponential:10m": {
			"stage wait 1m45s, overlap 2h37m: NOT SAFE, but a rotation refuses anything with a chance of 1e-06 at most\n", "no overlap is safe: --sender-restart exponential:10m has no upper limit; restart what is left at a fixed time",
			"for a risk of 1e-06 (--risk)", "4. restart the senders\n",
		},
		"--sender-restart exponential:10m --overlap 20m":             {"NOT SAFE: a rotation refuses something with a chance of"},
		"--sender-restart normal:10m,1m --risk 0.01":                 {"no overlap is safe", "for a risk of 0.01 (--risk)"},
		"--sender-restart exponential:10m --risk 0.01":               {"no overlap is safe", "for a risk of 0.01 (--risk)"},
		"--delivery exponential:1m":                                  {"no stage wait is safe: --delivery exponential:1m has no upper limit"},
		"--delivery exponential:1m --sender exec":                    {"no stage wait and no overlap is safe: --delivery exponential:1m has"},
		"--delivery exponential:1m --sender exec --protocol replace": {"no overlap is safe: --delivery exponential:1m has"},
	} {
		out := must(t, args)
		for _, text := range want {
			if !strings.Contains(out, text) {
				t.Errorf("plan %s: %q is missing in\n%s", args, text, out)
			}
		}
	}
}

// The line for rotate run has all three times, and rotate run accepts its flags.
func TestRunLine(t *testing.T) {
	for args, want := range map[string]string{
		"":                                 "--stage-wait 1m45s --overlap 11m --idle 10m5s --secret NAMESPACE/NAME --agents SERVICE --restart deployment/NAME",
		"--overlap 5m":                     "--stage-wait 1m45s --overlap 6m --idle 5m --secret NAMESPACE/NAME --agents SERVICE --restart deployment/NAME",
		"--kubelet-sync 0s":                "--stage-wait 15s --overlap 11m --idle 10m5s --agent URL PATH",
		"--sender exec":                    "--stage-wait 1m45s --overlap 2m20s --idle 2m15s --secret NAMESPACE/NAME --agents SERVICE",
		"--sender-restart uniform:0s..2h":  "--stage-wait 1m45s --overlap 2h1m --idle 2h0m5s --secret NAMESPACE/NAME --agents SERVICE --restart deployment/NAME",
		"--sender-restart exponential:10m": "--stage-wait 1m45s --overlap 2h37m --idle 2h36m10s --secret NAMESPACE/NAME --agents SERVICE --restart deployment/NAME",
		"--overlap 0s":                     "",
		"--protocol now":                   "",
		"--protocol replace":               "",
	} {
		a := inJSON(t, args)
		got, isRun := strings.CutPrefix(a.Run, "tokenagent rotate run ")
		if got != want || isRun != (want != "") {
			t.Errorf("plan %s:\n%s\nwant\n%s", args, a.Run, want)
		}
		if !isRun {
			continue
		}
		if out := must(t, args); !strings.Contains(out, "  or all of it: "+a.Run+"\n") {
			t.Errorf("plan %s: %q is missing in\n%s", args, a.Run, out)
		}
		line := strings.NewReplacer("URL", "http://127.0.0.1:1", "PATH", filepath.Join(t.TempDir(), "none")).Replace(got)
		cmd := rotatecommand.Command()
		cmd.SilenceErrors, cmd.SilenceUsage = true, true
		cmd.SetArgs(append([]string{"run", "--kubeconfig", filepath.Join(t.TempDir(), "none")}, strings.Fields(line)...))
		cmd.SetOut(io.Discard)
		cmd.SetErr(io.Discard)
		// A run that is canceled fails, but not because of its flags.
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := cmd.ExecuteContext(ctx); err == nil || exitcode.Of(err) == 2 {
			t.Errorf("rotate run %s: %v", line, err)
		}
	}
}

func TestSamples(t *testing.T) {
	name := filepath.Join(t.TempDir(), "restarts")
	if err := os.WriteFile(name, []byte("# of last month\n1m\n5m\n\n2m30s\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	a := inJSON(t, "--sender-restart samples:"+name)
	equal(t, "three samples", map[string][2]any{
		"the last use": {a.Limits.LastUse, seconds(305)}, "the overlap's limit": {a.Limits.Overlap, seconds(307)},
		"the advised overlap": {a.Advised.Overlap, seconds(310)}, "what is assumed": {a.Assumed.SenderRestart, "samples (3)"}, "safe": {a.Safe, true},
	})
	if _, _, err := run(t.Context(), "--sender-restart", "samples:"+name+"-none"); exitcode.Of(err) != 1 {
		t.Errorf("no file: %v", err)
	}
}

// Without staging the chance is never zero, and grows with the receivers.
func TestUnstagedIsNeverSafe(t *testing.T) {
	before := 0.0
	for _, n := range []string{"1", "3", "30", "1000"} {
		a := inJSON(t, "--protocol now --overlap 12h --request-rate 0.001 --newcomers 1 --sender-restart fixed:2h --rotations 400 --receivers "+n)
		equal(t, n+" receivers", map[string][2]any{"safe": {a.Safe, false}, "the chance for the old token": {a.Chosen.Old, 0.0}})
		if a.Chosen.New <= 0 || a.Chosen.Any < before*0.8 {
			t.Errorf("%s receivers: the chance does not grow: %+v", n, a.Chosen)
		}
		before = a.Chosen.Any
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
	if !errors.Is(err, context.Canceled) || exitcode.Of(err) != 1 || out != "" {
		t.Errorf("%v, printed %q", err, out)
	}
}

func TestRotationsFor(t *testing.T) {
	some, many := []times{{Overlap: 600, MaxOverlap: 660}}, []times{{Overlap: 1, MaxOverlap: 1e6}}
	for n, want := range map[int][4]int{ // with newcomers, sliding, with many renewals
		1: {1000, 1000, 1000, 1000}, 1000: {1000, 1000, 1000, 96}, 20_000: {500, 333, 109, 10}, 100_000: {100, 66, 21, 10},
	} {
		got := [4]int{
			(&model{Receivers: n, Senders: n}).rotationsFor(some),
			(&model{Receivers: n, Senders: n, Newcomers: n}).rotationsFor(some),
			(&model{Receivers: n, Senders: n, Sliding: true}).rotationsFor(some),
			(&model{Receivers: n, Senders: n, Sliding: true}).rotationsFor(many),
		}
		if got != want {
			t.Errorf("%d receivers: %d rotations, want %d", n, got, want)
		}
	}
}
