package model

import (
	"slices"
	"testing"
	"time"

	"github.com/tokenagent/tokenagent/internal/rotation"
	"github.com/tokenagent/tokenagent/pkg/verify"
)

// A traffic makes histories for a sliding window. Each sender sends single messages,
// because each message counts as a use. Numbers are in ticks.
type traffic struct {
	senders int
	delay   int // the longest delay of the receiver
	change  int // how long a slow sender takes to change over; a fast one takes 0
	idle    int // the longest pause between two messages of a sender
	until   int // how long the senders send after the replacement
	restart []restart
}

// replaced is when the operator replaces the only token of the source.
const replaced = 2 * tick

// histories returns a function that makes histories of f under the window w. The
// senders change over only after the receiver has the new token.
func (f traffic) histories(w rotation.Window, checkRestarts bool) func(*tape) *world {
	return func(t *tape) *world {
		out := &world{
			window: w, checkRestarts: checkRestarts, reached: time.Hour, sends: []send{},
			versions: []version{{step: "begin", current: a}, {at: replaced, step: "replace", current: b}},
		}
		wait := time.Duration(f.delay)*tick + second
		r := receiver{sees: []sight{{0, 0}, {replaced + t.delay(time.Duration(f.delay)*tick), 1}}}
		for i := range f.senders {
			s := sender{holds: []hold{{0, a}, {replaced + wait + tick*time.Duration(f.change*t.pick(2)), b}}}
			for at := replaced - tick + tick*time.Duration(t.pick(f.idle)); at <= replaced+wait+time.Duration(f.until)*tick; {
				k := a
				if at >= s.holds[1].from {
					k = b
				}
				out.sends = append(out.sends, send{at: at, sender: i, token: k})
				at += tick * time.Duration(1+t.pick(f.idle))
			}
			out.senders = append(out.senders, s)
		}
		if len(f.restart) > 0 {
			if n := t.pick(1 + len(f.restart)*f.until); n > 0 {
				n--
				x := f.restart[n%len(f.restart)]
				x.at = replaced + time.Duration(f.delay)*tick + tick*time.Duration(n/len(f.restart)) + tick/2
				r.restarts = []restart{x}
			}
		}
		slices.SortStableFunc(out.sends, func(a, b send) int { return int(a.at - b.at) })
		out.receivers = []receiver{r}
		out.settled = replaced + wait
		out.end = replaced + wait + max(w.Overlap, w.MaxOverlap) + tick
		out.weight = t.weight()
		return out
	}
}

// sliding returns a window whose overlap is shorter than the change-over. Senders
// that pause for at most two ticks keep it open.
func sliding() rotation.Window {
	return rotation.Window{Overlap: 2*tick + 2*second, MaxOverlap: 7 * tick}
}

// TestP2_SlidingWindow: a sender that never pauses for a whole overlap is not refused
// until the cap, however late it changes over. No token is accepted when an overlap
// has passed since its last use, or at the cap.
func TestP2_SlidingWindow(t *testing.T) {
	t.Parallel()
	// These histories are so long that renewals matter, and that the cap comes before
	// the end of the last renewal.
	long := traffic{senders: 2, change: 4, idle: 2, until: 4}
	w := sliding()
	w.MaxOverlap = 5 * tick
	if !testing.Short() {
		explore(t, long.histories(w, false)).holds(t, 4624)
	}
	late := traffic{senders: 2, delay: 1, change: 2, idle: 2, until: 2}
	explore(t, late.histories(w, false)).holds(t, 3528)
}

// TestP8_SlidingWindowAfterRestart restarts the receiver during the overlap. An open
// window continues from the last use. A window that waits for the first use of the new
// token continues to wait.
func TestP8_SlidingWindowAfterRestart(t *testing.T) {
	t.Parallel()
	f, want := traffic{senders: 2, change: 3, idle: 2, until: 2, restart: kept[:2]}, 3380
	if testing.Short() {
		f.restart, want = kept[:1], 2028
	}
	explore(t, f.histories(sliding(), true)).holds(t, want)
}

// TestModelFindsIdleSender shows the two limits of a sliding window. Once a sender has
// used the new token, another one that pauses for a whole overlap is refused. A sender
// that changes over after the cap is refused as well.
func TestModelFindsIdleSender(t *testing.T) {
	t.Parallel()
	golden := goldens(t)
	for name, x := range map[string]struct {
		traffic traffic
		window  rotation.Window
		class   verify.RefusalClass
	}{
		"a sender that is idle for an overlap": {
			traffic{senders: 2, change: 4, idle: 2, until: 3}, rotation.Window{Overlap: tick + 2*second, MaxOverlap: 7 * tick}, verify.Expired,
		},
		"a cap that is shorter than the change-over": {
			traffic{senders: 1, change: 4, idle: 1, until: 4}, rotation.Window{Overlap: 2*tick + 2*second, MaxOverlap: 3 * tick}, verify.Expired,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			explore(t, x.traffic.histories(x.window, false)).finds(t, refusedSender, x.class, golden[name])
		})
	}
}
