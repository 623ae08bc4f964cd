package e2e

import (
	"slices"
	"testing"
	"time"
)

const rotations = 20

// switches are the ways in which operators change the Secret. Each makes a new token
// current, and returns how long that took.
var switches = []func(*bench) time.Duration{replace, declare, stage}

// replace leaves it to tokenagent to remember the old token.
func replace(b *bench) time.Duration {
	_, next := b.renew()
	return b.publish("current", map[string]string{"token": string(next)})
}

// declare says in the Secret what the old token is, and until when.
func declare(b *bench) time.Duration {
	old, next := b.renew()
	return b.publish("current", promoted(old, next))
}

// stage publishes the new token before it becomes current.
func stage(b *bench) time.Duration {
	old, next := b.renew()
	b.publish("next", map[string]string{"token": string(old), "token-next": string(next)})
	return b.publish("current", promoted(old, next))
}

func promoted(old, next sharedToken) map[string]string {
	return map[string]string{
		"token":                string(next),
		"token-previous":       string(old),
		"token-previous-until": time.Now().Add(time.Minute).UTC().Format(time.RFC3339),
	}
}

// TestRotation rotates under load in the right order: it changes the Secret first, and
// restarts daprd when the app accepts the new token. Nothing is refused and nothing is
// lost, whether the new daprd starts after the old one has stopped or before.
func TestRotation(t *testing.T) {
	forEachWay(t, func(t *testing.T, w way) {
		b := newBench(t, w, setting{overlap: time.Minute})
		b.load(10 * time.Millisecond)

		var took []time.Duration
		for n := range rotations {
			previous := b.accepted("previous")
			took = append(took, switches[n%len(switches)](b))
			waitFor(t, 10*time.Second, "the old token is used, in the previous slot", func() bool {
				return b.accepted("previous") > previous
			})
			if n%2 == 0 {
				b.side.Recreate(b.token())
			} else {
				b.side.Surge(b.token())
			}
			current := b.accepted("current")
			b.flow()
			if b.accepted("current") <= current {
				t.Errorf("rotation %d: traffic goes on, but not with the new token", n+1)
			}
		}
		b.drain()
		if n := b.refused(); n != 0 {
			t.Errorf("%d refused in %d well-ordered rotations", n, rotations)
		}
		b.scan()
		slices.Sort(took)
		t.Logf("%d rotations, %d refused, %d accepted in the previous slot; a new token was seen as current after %v (median), %v (most)",
			rotations, b.refused(), b.accepted("previous"), took[len(took)/2], took[len(took)-1])
	})
}
