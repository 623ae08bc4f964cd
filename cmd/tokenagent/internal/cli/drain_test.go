//go:build unix

package cli

import (
	"bufio"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/tokenagent/tokenagent/agent"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/realm"
)

// TestSecondSignalEndsTheShutdownDelay sends two signals to a process with a delay that is
// longer than the test may take.
func TestSecondSignalEndsTheShutdownDelay(t *testing.T) {
	cmd := program(t, "run", "--token-file", file(t, good), "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--shutdown-delay", "24h")
	log, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	send := map[string]syscall.Signal{"for=admin-listen": syscall.SIGTERM, "shutting down: not ready": syscall.SIGINT}
	stop := time.AfterFunc(time.Minute, func() { _ = cmd.Process.Kill() }) // otherwise a failure takes a day
	defer stop.Stop()
	lines := bufio.NewScanner(log)
	for lines.Scan() {
		for text, sig := range send {
			if strings.Contains(lines.Text(), text) {
				delete(send, text)
				if err := cmd.Process.Signal(sig); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	if err := cmd.Wait(); err != nil || len(send) > 0 {
		t.Errorf("%v, %v", err, send)
	}
}

func TestStatusSaysThatTheAgentIsDraining(t *testing.T) {
	s := &realm.Status{Status: agent.Status{Schema: 1}, Draining: true}
	if text := statusText(s, time.Now()); !strings.Contains(text, "not ready: the agent is draining") {
		t.Errorf("%q", text)
	}
}
