package agent_test

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/tokenagent/tokenagent/agent"
	"github.com/tokenagent/tokenagent/internal/testlog"
	"github.com/tokenagent/tokenagent/pkg/verify"
)

// TestConfigErrorsAreReportedTogether: one error names everything that is wrong.
func TestConfigErrorsAreReportedTogether(t *testing.T) {
	_, err := agent.Start(t.Context(), agent.Config{
		TokenFile: "a", EnvFile: "b", Name: "no such/name", MinTokenBytes: -1, Poll: -1, PollOnly: true,
	})
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{"Config.TokenFile and Config.EnvFile are both set", "Name must be", "MinTokenBytes is negative", "Config.PollOnly with a negative Config.Poll"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in: %v", want, err)
		}
	}
	if strings.Contains(err.Error(), "\n") {
		t.Errorf("more than one line: %v", err)
	}
}

func TestMaxOverlapFitsOverlap(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		cfg  agent.Config
		want string
	}{
		"shorter":          {agent.Config{Overlap: 2 * time.Hour, MaxOverlap: time.Hour}, "is shorter than Config.Overlap"},
		"than the default": {agent.Config{MaxOverlap: time.Minute}, "is shorter than Config.Overlap (15m0s)"},
		"no overlap":       {agent.Config{Overlap: -1, MaxOverlap: time.Hour}, "Config.MaxOverlap needs Config.Overlap"},
	} {
		c.cfg.TokenFile = "x"
		if _, err := agent.Start(t.Context(), c.cfg); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

func TestZeroConfigReadsTheEnvironment(t *testing.T) {
	path := file(t, tokenN(1))
	unset := func(t *testing.T) {
		t.Helper()
		for _, name := range []string{"APP_API_TOKEN", "APP_API_TOKEN_FILE"} {
			t.Setenv(name, "") // so that the test restores it
			if err := os.Unsetenv(name); err != nil {
				t.Fatal(err)
			}
		}
	}
	for name, c := range map[string]struct {
		env             map[string]string
		accepts         int
		kind, wantError string
	}{
		"file":       {map[string]string{"APP_API_TOKEN_FILE": path}, 1, "file", ""},
		"token":      {map[string]string{"APP_API_TOKEN": tokenN(2)}, 2, "env", ""},
		"both":       {map[string]string{"APP_API_TOKEN_FILE": path, "APP_API_TOKEN": tokenN(2)}, 0, "", "has both APP_API_TOKEN_FILE and APP_API_TOKEN; unset one"},
		"neither":    {nil, 0, "", "no source; set Config.TokenFile, Config.EnvFile or Config.TokenEnv, or the environment variable"},
		"empty file": {map[string]string{"APP_API_TOKEN_FILE": ""}, 0, "", "APP_API_TOKEN_FILE is empty"},
		"empty":      {map[string]string{"APP_API_TOKEN": ""}, 0, "", "APP_API_TOKEN"},
	} {
		t.Run(name, func(t *testing.T) {
			unset(t)
			for k, v := range c.env {
				t.Setenv(k, v)
			}
			a, err := agent.Start(t.Context(), agent.Config{})
			if c.wantError != "" {
				if err == nil || !strings.Contains(err.Error(), c.wantError) {
					t.Fatalf("%v, want %s", err, c.wantError)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			defer a.Close()
			if !accepts(a, tokenN(c.accepts)) || a.Status().Sources[0].Kind != c.kind {
				t.Errorf("kind %s", a.Status().Sources[0].Kind)
			}
		})
	}
}

// TestP7_TokenInPlaceOfAName: with --token-env "$APP_API_TOKEN" the shell passes the
// token itself. No error, log, status or file shows it.
func TestP7_TokenInPlaceOfAName(t *testing.T) {
	env := file(t, "OTHER=x\n")
	for _, token := range []string{
		tokenN(0), "a" + strings.Repeat("0123456789abcdef", 2), strings.Repeat("JBSWY3DP", 4), "fxkCFHvvhLcpoqyUXgAZtm_Q4nJ0a7", strings.Repeat("a_", 40) + strings.Repeat("B", 16),
	} {
		for name, cfg := range map[string]agent.Config{
			"env":           {TokenEnv: token},
			"env file":      {TokenEnv: token, EnvFile: env},
			"env, waiting":  {TokenEnv: token, WaitForSource: true, StateFile: stateFile(t)},
			"both, not set": {TokenEnv: token, EnvFile: env, WaitForSource: true, StateFile: stateFile(t)},
		} {
			var log testlog.Log
			cfg.Logger = log.Logger()
			a, err := agent.Start(t.Context(), cfg)
			shown := log.String() + fmt.Sprint(err)
			if err == nil {
				_ = a.Revoke(verify.Digest("x")) // writes the state file
				state, _ := os.ReadFile(cfg.StateFile)
				shown += fmt.Sprint(a.Status()) + string(state)
				_ = a.Close()
			} else if want := map[bool]string{true: "not the value", false: "not shown"}[strings.Contains(token, "-")]; !strings.Contains(err.Error(), want) {
				t.Errorf("%s: the error does not say what is wrong: %v", name, err)
			}
			if strings.Contains(shown, token) {
				t.Errorf("%s: the token is shown: %s", name, shown)
			}
		}
	}
	for _, name := range []string{"NO_SUCH_VARIABLE", "no_such_variable_either", "noSuchOne", "APP_API_TOKEN_OF_THE_MANY"} {
		if _, err := agent.Start(t.Context(), agent.Config{TokenEnv: name}); err == nil || !strings.Contains(err.Error(), "environment variable "+name+": not set") {
			t.Errorf("%s is not named: %v", name, err)
		}
	}
}

// TestEnvironmentIsStatic: the agent reads the environment again only on Reload, and
// Status says so.
func TestEnvironmentIsStatic(t *testing.T) {
	t.Setenv("SOME_TOKEN", tokenN(0))
	a := start(t, agent.Config{TokenEnv: "SOME_TOKEN"})
	s := a.Status().Sources[0]
	if s.WatchMode != "static" || len(s.Limits) != 1 || !strings.Contains(s.Limits[0], "environment cannot change") {
		t.Errorf("mode %s, limits %v", s.WatchMode, s.Limits)
	}
	t.Setenv("SOME_TOKEN", tokenN(1))
	if changed, err := a.Reload(); !changed || err != nil {
		t.Fatal(changed, err)
	}
	if !accepts(a, tokenN(1)) || !accepts(a, tokenN(0)) {
		t.Error("Reload does not rotate the token")
	}
}

// TestP8_DeclaredPreviousSurvivesARestart: a declared previous token needs no state file.
func TestP8_DeclaredPreviousSurvivesARestart(t *testing.T) {
	t.Parallel()
	path := file(t, tokenN(1)+"\n"+tokenN(0)+" previous until=2999-01-01T00:00:00Z\n"+tokenN(2)+" previous until=2001-01-01T00:00:00Z")
	for range 2 {
		a := start(t, agent.Config{TokenFile: path, PollOnly: true})
		if !accepts(a, tokenN(0)) || !accepts(a, tokenN(1)) || accepts(a, tokenN(2)) {
			t.Error("a declared deadline does not hold from the start")
		}
		_ = a.Close()
	}
}

func TestConfigRefusesATinyPollInterval(t *testing.T) {
	t.Parallel()
	if _, err := agent.Start(t.Context(), agent.Config{TokenFile: file(t, tokenN(0)), Poll: 1}); err == nil || !strings.Contains(err.Error(), "Poll is shorter") {
		t.Errorf("Poll of 1 ns: %v", err)
	}
}
