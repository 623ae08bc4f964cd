package e2e

import (
	"testing"
	"time"
)

// TestOverlapEnds rotates, and does not restart daprd for longer than the overlap. Before
// the deadline nothing is refused. From the deadline on everything is. The broker keeps
// refused messages until a daprd with the new token starts.
func TestOverlapEnds(t *testing.T) {
	forEachWay(t, func(t *testing.T, w way) {
		b := newBench(t, w, setting{overlap: 4 * time.Second, fixed: true})
		b.load(40 * time.Millisecond)
		old, next := b.renew()
		b.publish("current", map[string]string{"token": string(next)})
		deadline := b.overlapExpires()
		if left := time.Until(deadline); left < 2*time.Second || left > 4*time.Second {
			t.Fatalf("the overlap of 4s ends in %v, by the metric", left)
		}

		mark := deadline.Add(w.transit)
		b.tally.Mark(mark)
		throughout(t, deadline.Add(-100*time.Millisecond), "nothing is refused in the overlap", func() bool {
			return b.refused() == 0
		})
		waitFor(t, 5*time.Second, "the overlap is over", func() bool { return time.Now().After(deadline) })
		accepted := b.accepted("")
		waitFor(t, 20*time.Second, "everything is refused, for longer than the broker takes to deliver again", func() bool {
			return b.refused() >= 50 && time.Now().After(mark.Add(4*time.Second))
		})
		b.noneSince("the deadline", accepted)
		if b.admits(old) || !b.admits(next) {
			t.Error("past daprd, the old token is admitted or the new one is not")
		}
		refused := b.refused()

		b.side.Recreate(next)
		b.flow()
		b.drain()
		b.scan()
		t.Logf("%d refused after the overlap, 0 before, all handled in the end", refused)
	})
}
