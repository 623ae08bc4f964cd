package e2e

import (
	"strings"
	"testing"
	"time"
)

// losesRefused reports whether this daprd acknowledges a Redis message that the app
// refused, as components-contrib does from 1.18 on.
func losesRefused(tb testing.TB) bool {
	tb.Helper()
	version, err := daprVersion()
	if err != nil {
		tb.Fatal(err)
	}
	return !strings.HasPrefix(version, "1.16.")
}

// TestRefusedMessages revokes the token that daprd has, and gives daprd the new one when
// the app has refused messages. With Dapr 1.18 Redis loses each of them, unless daprd
// uses the Resiliency of deploy/sidecar/dapr. With Dapr 1.16 it loses none.
func TestRefusedMessages(t *testing.T) {
	for _, c := range []struct {
		name      string
		redeliver bool
	}{
		{"without the Resiliency", false},
		{"with the Resiliency", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			old, next := newToken(), newToken()
			mount := newSecretMount(t)
			mount.Publish(map[string]string{"token": string(old)})
			var tally appTally
			port, view := embeddedHTTP(t, &tally, setting{dir: mount.Dir})
			broker := startRedis(t)
			side := newSidecar(t, sidecarConfig{
				Binary: built(t, daprdBinary), Protocol: "http", AppPort: port, Redis: broker, Redeliver: c.redeliver,
			})
			side.Start(old)
			messages := startStream(t, "message", 2, 20*time.Millisecond, side.Publish, nil)
			waitFor(t, 20*time.Second, "messages are handled", func() bool { return tally.Messages.Len() >= 50 })

			mount.Publish(map[string]string{"token": string(next), "token-revoked": old.Digest() + "\n"})
			waitFor(t, 20*time.Second, "messages are refused", func() bool {
				return messages.Acked.Len()-tally.Messages.Len() >= 50 && tally.Refused.Load() >= 10
			})
			side.Recreate(next)
			handled := tally.Messages.Len()
			waitFor(t, 20*time.Second, "messages are handled again", func() bool { return tally.Messages.Len() >= handled+50 })
			messages.Stop()
			missing := func() int { return len(tally.Messages.Missing(&messages.Acked)) }
			if losesRefused(t) && !c.redeliver {
				waitFor(t, 45*time.Second, "the broker waits for no acknowledgement", func() bool {
					return pendingMessages(t, broker, topic, appID) == 0
				})
				if missing() == 0 {
					t.Error("no message was lost: the Resiliency is not needed with this version of Dapr")
				}
			} else {
				waitFor(t, 90*time.Second, "every published message is handled", func() bool { return missing() == 0 })
			}
			t.Logf("%d published, %d refusals, %d lost", messages.Acked.Len(), tally.Refused.Load(), missing())
			if !view.Ready() {
				t.Error("the agent is not ready")
			}
		})
	}
}
