package rotate_test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/rotate"
)

func TestFlagsOfAWholeRotation(t *testing.T) {
	path := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(path, []byte(one), 0o600); err != nil {
		t.Fatal(err)
	}
	for says, args := range map[string][]string{
		"say what to rotate":                         {"run"},
		"PATH goes without --secret":                 {"run", "--secret", "a/b", path},
		"run takes one PATH":                         {"run", path, path},
		"--secret must be NAMESPACE/NAME":            {"run", "--secret", "b"},
		"--selector needs either":                    {"run", "--selector", "a=b"},
		"--selector needs either --namespace":        {"abort", "--selector", "a=b", "--all-namespaces", "--namespace", "c"},
		"go with --selector":                         {"run", "--secret", "a/b", "--namespace", "c"},
		"name the agents with --agent":               {"run", "--agents", "a/b", path},
		"--distinct goes with several":               {"run", "--distinct", path},
		"--agent cannot say":                         {"run", "--distinct", "--secret", "a/b", "--agent", "http://127.0.0.1:1"},
		"--agents must be [NAMESPACE/]SERVICE":       {"run", "--secret", "a/b", "--agents", "a/b/c"},
		"--agents must be":                           {"run", "--secret", "a/b", "--agents", "b:0"},
		"--restart must be [NAMESPACE/]KIND/NAME":    {"run", "--secret", "a/b", "--restart", "job/x"},
		"--restart must be":                          {"run", "--secret", "a/b", "--restart", "x"},
		"--stage-wait, --min-age and --timeout":      {"run", "--stage-wait", "-1s", path},
		"--overlap must not be negative":             {"run", "--overlap", "-1s", path},
		"--overlap 0s would refuse every":            {"run", "--overlap", "0s", path},
		"--overlap 0s would refuse":                  {"abort", "--overlap", "0s", path},
		"--overlap 5m0s is less than 6m0s":           {"run", "--overlap", "5m", "--secret", "a/b", "--restart", "deploy/x"},
		"--overlap 24h0m0s is less than 26h":         {"run", "--stage-wait", "13h", "--secret", "a/b", "--restart", "deploy/x"},
		"it has no client of that name, nor another": {"run", "--client", "ci", "--dry-run", path},
	} {
		code := 2
		if strings.HasPrefix(says, "it has") {
			code, says = 1, "no current token of the client"
		}
		run(t, "", false, args...).want(t, code, says)
	}
	run(t, "", false, "abort", "--timeout", "-1s", path).want(t, 2, "--timeout must not be negative")
	if f := rotateFlag(t, "abort", "timeout"); f != "1m0s" {
		t.Errorf("abort tries for %s", f)
	}
	run(t, "", false, "run", "--dry-run", path).want(t, 0, "checked 1 targets can be rotated; nothing was written")
	if text, err := os.ReadFile(path); err != nil || string(text) != one {
		t.Errorf("a dry run has changed the file: %v", err)
	}
}

// rotateFlag returns the default of a flag.
func rotateFlag(t *testing.T, command, flag string) string {
	t.Helper()
	cmd, _, err := rotate.Command().Find([]string{command})
	if err != nil || cmd.Flags().Lookup(flag) == nil {
		t.Fatalf("%s has no --%s: %v", command, flag, err)
	}
	return cmd.Flags().Lookup(flag).DefValue
}

// A file rotates by the clock alone. Each event is one line of JSON.
func TestWholeRotationOfAFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(path, []byte(one), 0o600); err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		cmd := rotate.Command()
		cmd.SetArgs([]string{"run", "--overlap", "10m", "--output", "json", path})
		cmd.SetOut(&out)
		if err := cmd.ExecuteContext(t.Context()); err != nil {
			t.Fatal(err)
		}
		var events []string
		for line := range strings.Lines(out.String()) {
			var p struct {
				Schema                  int
				Event, Rotation, Target string
			}
			if err := json.Unmarshal([]byte(line), &p); err != nil || p.Schema != 1 {
				t.Errorf("%s: %v", line, err)
			}
			events = append(events, p.Event)
		}
		if got := strings.Join(events, " "); got != "staged waiting promoted waiting retired finished" || strings.Contains(out.String(), "CANARY") {
			t.Errorf("%s", out.String())
		}
	})
	text, err := os.ReadFile(path)
	if err != nil || strings.Contains(string(text), one) || !strings.Contains(string(text), "retired "+id(one)) {
		t.Errorf("%v", err)
	}
}
