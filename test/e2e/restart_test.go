package e2e

import (
	"path/filepath"
	"testing"
	"time"
)

// TestRestartInTheMiddle replaces the token, and does not restart daprd for longer than
// the overlap. In that time it kills the program three times and starts it again. With a
// sliding window and a state file, nothing is refused. Once daprd has the new token, the
// old one is refused after an overlap.
func TestRestartInTheMiddle(t *testing.T) {
	for _, w := range ways[2:] { // where the agent is a process of its own
		t.Run(w.name, func(t *testing.T) {
			t.Parallel()
			const overlap = 3 * time.Second
			b := newBench(t, w, setting{overlap: overlap, flags: []string{
				"--poll-interval", "500ms", "--state-file", filepath.Join(t.TempDir(), "private", "tokens"),
			}})
			b.load(40 * time.Millisecond)
			old, next := b.renew()
			b.publish("current", map[string]string{"token": string(next)})
			program, ok := b.view.(*daemon)
			if !ok {
				t.Fatal("the agent does not run in its own process")
			}
			// A call that failed while the program was down is not a refusal. Each
			// process has its own counters.
			refused := func() float64 {
				page := b.page()
				const name = "tokenagent_verifications_total"
				return page.Sum(name, nil) - page.Sum(name, labels{"result": "ok"})
			}
			for range 3 {
				until := time.Now().Add(overlap + time.Second)
				throughout(t, until, "nothing is refused", func() bool { return refused() == 0 })
				program.crash()
				b.flow()
				if n := b.page().Sum("tokenagent_verifications_total", labels{"slot": "previous", "result": "ok"}); n == 0 {
					t.Error("after a restart the old token is not the one that comes")
				}
			}
			b.side.Recreate(next)
			b.flow()
			waitFor(t, 20*time.Second, "the overlap of the old token ends", func() bool {
				return !b.page().Has("tokenagent_token_info", labels{"slot": "previous"})
			})
			if n := refused(); n > 0 {
				t.Errorf("%v refused", n)
			}
			if b.admits(old) || !b.admits(next) {
				t.Error("past daprd, the old token is admitted or the new one is not")
			}
			b.drain()
			b.scan()
		})
	}
}
