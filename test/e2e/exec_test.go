package e2e

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestExec leaves the restarts of daprd to `tokenagent exec`, which watches the same
// Secret as the app.
func TestExec(t *testing.T) {
	const rotations = 8
	for _, w := range ways {
		if w.name != "http-embedded" && w.name != "grpc-proxy" {
			continue // how the app verifies makes no difference to who restarts daprd
		}
		t.Run(w.name, func(t *testing.T) {
			t.Parallel()
			admin := freePort(t)
			b := newBench(t, w, setting{overlap: time.Minute, under: func(dir string) []string {
				return []string{
					built(t, tokenagentBinary), "exec", "--token-file", dir, "--env", "APP_API_TOKEN", "--restart-delay", "1s",
					"--admin-listen", loopback(admin), "--log-level", "debug", "--",
				}
			}})
			b.load(10 * time.Millisecond)
			exec := &daemon{t: t, process: b.side.Process(), admin: "http://" + loopback(admin), client: &http.Client{Timeout: 5 * time.Second}}
			t.Cleanup(exec.client.CloseIdleConnections)
			page := func() metricsPage { return parseMetrics(t, exec.Metrics()) }
			restarts := func() int { return int(page().Sum("tokenagent_exec_restarts_total", nil)) }

			var took []time.Duration
			for n := range rotations {
				switches[n%len(switches)](b)
				took = append(took, waitFor(t, 20*time.Second, "daprd runs with the new token", func() bool {
					p := page()
					return p.Has("tokenagent_exec_token_info", labels{"fingerprint": b.token().Fingerprint()}) &&
						p.Sum("tokenagent_exec_running", nil) == 1 && p.Sum("tokenagent_exec_restarts_total", nil) == float64(n+1)
				}))
				current := b.accepted("current")
				b.flow()
				if b.accepted("current") <= current {
					t.Errorf("rotation %d: traffic goes on, but not with the new token", n+1)
				}
			}
			// exec must not restart daprd for a change that keeps the current token.
			current := b.token()
			b.renew()
			b.publish("next", map[string]string{"token": string(current), "token-next": string(b.token())})
			waitFor(t, 15*time.Second, "exec sees the staged token", func() bool {
				return page().Has("tokenagent_token_info", labels{"slot": "next", "fingerprint": b.token().Fingerprint()})
			})
			b.flow()
			b.drain()
			refused := b.refused()
			if refused != 0 {
				t.Errorf("%d refused in %d rotations", refused, rotations)
			}
			if n := restarts(); n != rotations {
				t.Errorf("daprd was restarted %d times in %d rotations", n, rotations)
			}
			if n := page().Sum("tokenagent_exec_kills_total", nil); n != 0 {
				t.Errorf("daprd was killed %v times", n)
			}
			b.scan()
			b.view = exec
			b.scan()
			b.side.Process().Stop()
			// A daprd that does not end within its own grace period exits with 1.
			want := 0
			if strings.Contains(exec.process.Output(), "Graceful shutdown timeout exceeded") {
				want = 1
			}
			if code := exec.process.ExitCode(); code != want {
				t.Errorf("exec exits with %d, want daprd's exit code %d", code, want)
			}
			slices.Sort(took)
			t.Logf("%d rotations, %d refused, %d restarts; daprd ran with the new token %v after the app took it (median), %v (most)",
				rotations, refused, rotations, took[len(took)/2], took[len(took)-1])
		})
	}
}
