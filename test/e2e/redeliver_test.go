package e2e

import (
	"strings"
	"testing"
	"time"

	"github.com/tokenagent/tokenagent/test/e2e/internal/load"
	"github.com/tokenagent/tokenagent/test/e2e/internal/poll"
	"github.com/tokenagent/tokenagent/test/e2e/internal/redis"
	"github.com/tokenagent/tokenagent/test/e2e/internal/sidecar"

	"github.com/tokenagent/tokenagent/test/e2e/internal/app"
	"github.com/tokenagent/tokenagent/test/e2e/internal/secret"
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

// TestRefusedMessages revokes the token that daprd has, and gives daprd the new one
// once the app has refused messages. Redis on Dapr 1.18 loses each of them, unless the
// Resiliency of deploy/sidecar/dapr is there; on Dapr 1.16 it loses none.
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
			old, next := secret.NewToken(), secret.NewToken()
			mount := secret.NewMount(t)
			mount.Publish(map[string]string{"token": string(old)})
			var tally app.Tally
			port, view := embeddedHTTP(t, &tally, setting{dir: mount.Dir})
			broker := redis.Start(t)
			side := sidecar.New(t, sidecar.Config{
				Binary: built(t, daprdBinary), Protocol: "http", AppPort: port, Redis: broker, Redeliver: c.redeliver,
			})
			side.Start(old)
			messages := load.Start(t, "message", 2, 20*time.Millisecond, side.Publish, nil)
			poll.Until(t, 20*time.Second, "messages are handled", func() bool { return tally.Messages.Len() >= 50 })

			mount.Publish(map[string]string{"token": string(next), "token-revoked": old.Digest() + "\n"})
			poll.Until(t, 20*time.Second, "messages are refused", func() bool {
				return messages.Acked.Len()-tally.Messages.Len() >= 50 && tally.Refused.Load() >= 10
			})
			side.Recreate(next)
			handled := tally.Messages.Len()
			poll.Until(t, 20*time.Second, "messages are handled again", func() bool { return tally.Messages.Len() >= handled+50 })
			messages.Stop()
			missing := func() int { return len(tally.Messages.Missing(&messages.Acked)) }
			if losesRefused(t) && !c.redeliver {
				poll.Until(t, 45*time.Second, "the broker waits for no acknowledgement", func() bool {
					return redis.Pending(t, broker, sidecar.Topic, sidecar.AppID) == 0
				})
				if missing() == 0 {
					t.Error("no message was lost: the Resiliency is not needed with this version of Dapr")
				}
			} else {
				poll.Until(t, 90*time.Second, "every published message is handled", func() bool { return missing() == 0 })
			}
			t.Logf("%d published, %d refusals, %d lost", messages.Acked.Len(), tally.Refused.Load(), missing())
			if !view.Ready() {
				t.Error("the agent is not ready")
			}
		})
	}
}
