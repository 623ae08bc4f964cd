package e2e

import (
	"testing"
	"time"
)

// TestRevocation publishes a new token and revokes the old one, as after a leak, in the
// middle of an overlap of an hour. No request with the old token that begins after the
// agent has published the revocation is accepted.
func TestRevocation(t *testing.T) {
	forEachWay(t, func(t *testing.T, w way) {
		b := newBench(t, w, setting{overlap: time.Hour})
		b.load(40 * time.Millisecond)
		if n := b.refused(); n != 0 {
			t.Errorf("%d refused before the revocation", n)
		}

		old, next := b.renew()
		took := b.publish("current", map[string]string{"token": string(next), "token-revoked": old.Digest() + "\n"})
		mark := time.Now().Add(w.transit)
		b.tally.Mark(mark)
		accepted := b.accepted("")
		var revoked int
		waitFor(t, 15*time.Second, "the revoked token is refused time and again", func() bool {
			revoked = int(b.page().Sum("tokenagent_verifications_total", labels{"result": "revoked"}))
			return revoked >= 100 && time.Now().After(mark.Add(2*time.Second))
		})
		b.noneSince("the revocation", accepted)
		if b.admits(old) || !b.admits(next) {
			t.Error("past daprd, the old token is admitted or the new one is not")
		}

		b.side.Recreate(next)
		b.flow()
		b.drain()
		b.scan()
		t.Logf("revoked after %v, then %d refused and 0 accepted until daprd had the new token", took, revoked)
	})
}
