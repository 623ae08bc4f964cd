package agent_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/tokenagent/tokenagent/agent"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// tokenN returns the nth token of the tests, which contains the canary.
func tokenN(n int) string { return fmt.Sprintf("%s%08d", canary, n) }

// canary must never appear in output.
const canary = "CANARY-d41f6a-"

// start returns a new Agent, which the end of the test closes.
func start(tb testing.TB, cfg agent.Config) *agent.Agent {
	tb.Helper()
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	a, err := agent.Start(tb.Context(), cfg)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = a.Close() })
	return a
}

// file writes a token file and returns its path.
func file(tb testing.TB, text string) string {
	tb.Helper()
	path := filepath.Join(tb.TempDir(), "token")
	replace(tb, path, text)
	return path
}

// replace replaces the file at path by renaming a new file over it.
func replace(tb testing.TB, path, text string) {
	tb.Helper()
	if err := os.WriteFile(path+".tmp", []byte(text), 0o600); err != nil {
		tb.Fatal(err)
	}
	if err := os.Rename(path+".tmp", path); err != nil {
		tb.Fatal(err)
	}
}

// eventually waits until cond returns true. It calls cond at every change of a.
func eventually(t *testing.T, a *agent.Agent, what string, cond func() bool) {
	t.Helper()
	limit := time.After(20 * time.Second)
	for {
		changed := a.Updated()
		if cond() {
			return
		}
		select {
		case <-changed:
		case <-time.After(20 * time.Millisecond): // counters change without a change of state
		case <-limit:
			t.Fatalf("not within 20 s: %s", what)
		}
	}
}

func accepts(a *agent.Agent, token string) bool {
	_, err := a.Verify(context.Background(), token)
	return err == nil
}
