package agent_test

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/tokenagent/tokenagent/agent"
	"github.com/tokenagent/tokenagent/internal/testlog"
)

// TestWarnsOfAppAPITokenBesideAnotherSource: a Dapr SDK checks the token again, against
// the variable that no rotation changes.
func TestWarnsOfAppAPITokenBesideAnotherSource(t *testing.T) {
	path := file(t, tokenN(1))
	envFile := filepath.Join(t.TempDir(), "env")
	replace(t, envFile, "APP_API_TOKEN="+tokenN(1)+"\n")
	for name, c := range map[string]struct {
		value string
		cfg   agent.Config
		want  int
	}{
		"a file beside it":             {tokenN(2), agent.Config{TokenFile: path}, 1},
		"an env file beside it":        {tokenN(2), agent.Config{EnvFile: envFile}, 1},
		"another variable beside it":   {tokenN(2), agent.Config{TokenEnv: "ANOTHER_TOKEN"}, 1},
		"it is the source":             {tokenN(2), agent.Config{TokenEnv: "APP_API_TOKEN"}, 0},
		"it is the source, by default": {tokenN(2), agent.Config{}, 0},
		"it is empty":                  {"", agent.Config{TokenFile: path}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("APP_API_TOKEN", c.value)
			t.Setenv("ANOTHER_TOKEN", tokenN(3))
			var log testlog.Log
			c.cfg.Logger = log.Logger()
			start(t, c.cfg)
			if got := strings.Count(log.String(), "level=WARN msg=\"APP_API_TOKEN is set"); got != c.want {
				t.Errorf("%d warnings, want %d:\n%s", got, c.want, log.String())
			}
			if strings.Contains(log.String(), canary) {
				t.Errorf("the log shows a token:\n%s", log.String())
			}
		})
	}
}
