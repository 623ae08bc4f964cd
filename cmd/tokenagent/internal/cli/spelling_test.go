package cli

import (
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"
)

// TestErrorsNameFlags checks that errors of the agent name flags, not fields of its Config.
func TestErrorsNameFlags(t *testing.T) {
	for _, name := range []string{"APP_API_TOKEN", "APP_API_TOKEN_FILE"} {
		t.Setenv(name, "")
		if err := os.Unsetenv(name); err != nil {
			t.Fatal(err)
		}
	}
	path := file(t, good)
	none := []string{"run", "--listen", "127.0.0.1:0", "--admin-listen", ""}
	for want, args := range map[string][]string{
		"no source; set --token-file, --env-file or --token-env": none,
		"--state-file is a directory":                            append(slices.Clip(none), "--token-file", path, "--state-file", t.TempDir()),
		"--state-file is the source":                             append(slices.Clip(none), "--token-file", path, "--state-file", path),
	} {
		if o := invoke(t, "", args...); o.code != 2 || !strings.Contains(o.errOut, want) || strings.Contains(o.errOut, "Config.") {
			t.Errorf("exit code %d, %s, want %q", o.code, o.errOut, want)
		}
	}
}

// TestErrorsNameTheVariableThatWasSet instead of the flag that it sets.
func TestErrorsNameTheVariableThatWasSet(t *testing.T) {
	path := file(t, good)
	t.Setenv("TOKENAGENT_TOKEN_ENV", "X")
	t.Setenv("TOKENAGENT_STATE_FILE", path)
	invoke(t, "", "run", "--token-file", path).want(t, 2, "tokenagent: --token-file and TOKENAGENT_TOKEN_ENV are both set; one source is meant: leave one empty\n")
	t.Setenv("TOKENAGENT_TOKEN_FILE", path)
	invoke(t, "", "run", "--token-env", "Y").want(t, 2, "tokenagent: TOKENAGENT_TOKEN_FILE and --token-env are both set; one source is meant: leave one empty\n")
	for name, value := range map[string]string{"TOKENAGENT_TOKEN_ENV": "", "TOKENAGENT_OUTPUT": "yaml"} {
		t.Setenv(name, value)
	}
	if err := os.Unsetenv("TOKENAGENT_TOKEN_ENV"); err != nil {
		t.Fatal(err)
	}
	invoke(t, "", "run").want(t, 2, "TOKENAGENT_STATE_FILE is the source")
	invoke(t, "", "check").want(t, 2, "TOKENAGENT_OUTPUT must be text or json")
}

// TestStatusAndMetricsShowTheVersion that the command version prints.
func TestStatusAndMetricsShowTheVersion(t *testing.T) {
	invoke(t, "", "version").want(t, 0, "v0-test") // sets it, as the program does when it starts
	r := startRun(t, "--token-file", file(t, good))
	var s struct{ Version string }
	if err := json.Unmarshal([]byte(r.page(t, "/status")), &s); err != nil || s.Version != "v0-test" {
		t.Errorf("/status: %+v %v", s, err)
	}
	if text := r.page(t, "/metrics"); !strings.Contains(text, `version="v0-test"`) || !strings.Contains(text, "tokenagent_build_info{") {
		t.Error("tokenagent_build_info has another version")
	}
	if !strings.Contains(r.page(t, "/"), "v0-test") {
		t.Error("the page has another version")
	}
}
