package e2e

import (
	"fmt"
	"testing"
	"time"
)

// TestLateSecret starts the app and its daprd before the Secret exists. daprd asks for
// subscriptions only once. The app's health answer makes it wait, so no subscription is
// lost, and daprd delivers the messages that were published before.
func TestLateSecret(t *testing.T) {
	forEachWay(t, func(t *testing.T, w way) {
		b := newBench(t, w, setting{overlap: time.Minute, wait: true})
		if b.view.Ready() {
			t.Error("ready without a token")
		}
		b.side.Start(b.token())
		var early idSet
		for n := range 50 {
			id := fmt.Sprintf("early-%d", n)
			if err := b.side.Publish(id); err != nil {
				t.Fatalf("publish before the app is ready: %v", err)
			}
			early.Add(id)
		}
		// Wait for more than three health probes.
		throughout(t, time.Now().Add(4*time.Second), "daprd sends nothing to an app that is not ready", func() bool {
			return b.tally.Messages.Len() == 0 && b.tally.Ticks.Load() == 0 && b.refused() == 0
		})

		b.mount.Publish(map[string]string{"token": string(b.token())})
		started := time.Now()
		waitFor(t, 15*time.Second, "the agent is ready", b.view.Ready)
		waitFor(t, 20*time.Second, "the messages published before are handled, and cron ticks", func() bool {
			return len(b.tally.Messages.Missing(&early)) == 0 && b.tally.Ticks.Load() > 0
		})
		took := time.Since(started)
		if err := b.side.Invoke("call"); err != nil {
			t.Errorf("invoke: %v", err)
		}
		if n := b.refused(); n != 0 {
			t.Errorf("%d refused", n)
		}
		b.scan()
		t.Logf("all %d early messages handled %v after the Secret came, 0 refused", early.Len(), took)
	})
}
