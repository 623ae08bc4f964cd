package agent_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tokenagent/tokenagent/agent"
	"github.com/tokenagent/tokenagent/internal/testlog"
	"github.com/tokenagent/tokenagent/pkg/verify"
)

// TestLogOfARotation: a log record names the staged token. After the rotation, another
// one says when the overlap ends and which uses extend it.
func TestLogOfARotation(t *testing.T) {
	t.Parallel()
	path := file(t, tokenN(0))
	for name, c := range map[string]struct {
		most time.Duration
		want []string
		not  string
	}{
		"slides": {0, []string{
			"overlap_until=2000-01-02T00:00:0", "overlap_until_at_most=2000-01-02T00:00:0",
			`overlap_begins_with="the first use of the new one"`, `renewed_by="each use of the old one, for 15m0s"`,
		}, "nothing"},
		"fixed": {-1, []string{"overlap_until=2000-01-01T00:15:0", "overlap_until_at_most=2000-01-01T00:15:0"}, "renewed_by"},
	} {
		synctest.Test(t, func(t *testing.T) {
			var log testlog.Log
			replace(t, path, tokenN(0))
			a := start(t, agent.Config{TokenFile: path, PollOnly: true, Poll: time.Hour, MaxOverlap: c.most, Logger: log.Logger()})
			replace(t, path, tokenN(0)+"\n"+tokenN(1)+" next")
			line := func(message string) string {
				t.Helper()
				if _, err := a.Reload(); err != nil {
					t.Fatal(err)
				}
				synctest.Wait()
				for line := range strings.Lines(log.String()) {
					if strings.Contains(line, message) {
						return line
					}
				}
				t.Fatalf("%s: no line %q in\n%s", name, message, log.String())
				return ""
			}
			if got := line(`msg="source changed"`); !strings.Contains(got, "next_fingerprint="+verify.Fingerprint(verify.Digest(tokenN(1)))) {
				t.Errorf("%s: the record lacks the staged token: %s", name, got)
			}
			replace(t, path, tokenN(1))
			got := line("msg=rotated")
			for _, want := range c.want {
				if !strings.Contains(got, want) {
					t.Errorf("%s: no %s in %s", name, want, got)
				}
			}
			if strings.Contains(got, c.not) {
				t.Errorf("%s: %s in %s", name, c.not, got)
			}
			_ = a.Close()
		})
	}
}

// The first state of a source is in the log when Start returns.
func TestStartLogsTheFirstState(t *testing.T) {
	t.Parallel()
	var log testlog.Log
	start(t, agent.Config{TokenFile: file(t, tokenN(0)), Logger: log.Logger()})
	if n := strings.Count(log.String(), `msg="source loaded"`); n != 1 {
		t.Errorf("logged %d times:\n%s", n, log.String())
	}
}
