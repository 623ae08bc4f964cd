package model

import (
	"slices"
	"testing"
	"time"

	"github.com/tokenagent/tokenagent/internal/rotation"
	"github.com/tokenagent/tokenagent/pkg/verify"
)

// A traffic is that of senders of which each sends again within idle, as opposed
// to one of which anything can arrive at any time. In it a window slides.
type traffic struct {
	senders int
	delay   int // of the receiver, in ticks at the most
	change  int // of a slow sender, in ticks; a fast one takes none
	idle    int // between two messages of a sender, in ticks at the most
	until   int // for so many ticks after the replacement
	restart []restart
}

// replaced is when the plain source of a traffic is replaced in place.
const replaced = 2 * tick

// histories makes one of traffic under the window w, in which the senders wait
// until the receiver has the new token.
func (f traffic) histories(w rotation.Window, shows bool) func(*tape) *world {
	return func(t *tape) *world {
		out := &world{
			window: w, restartsShow: shows, reached: time.Hour, sends: []send{},
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

// sliding is a window that is shorter than the change-over, slid by senders that
// are never idle for longer than two ticks.
func sliding() rotation.Window {
	return rotation.Window{Overlap: 2*tick + 2*second, MaxOverlap: 7 * tick}
}

// TestP2_SlidingWindow: a sender that is not idle for an overlap is not refused,
// however long after the others it changes over within the cap, and nothing is
// accepted an overlap after its last use, or past the cap.
func TestP2_SlidingWindow(t *testing.T) {
	t.Parallel()
	// Long enough for a renewal to matter, and for the cap to come before the end
	// of the last one.
	long := traffic{senders: 2, change: 4, idle: 2, until: 4}
	w := sliding()
	w.MaxOverlap = 5 * tick
	if !testing.Short() {
		explore(t, long.histories(w, false)).holds(t, 4624)
	}
	late := traffic{senders: 2, delay: 1, change: 2, idle: 2, until: 2}
	explore(t, late.histories(w, false)).holds(t, 3528)
}

// TestP8_SlidingWindowGoesOn restarts the receiver in the middle: the window goes
// on from the last use, and one that waits for the first use goes on waiting.
func TestP8_SlidingWindowGoesOn(t *testing.T) {
	t.Parallel()
	f, want := traffic{senders: 2, change: 3, idle: 2, until: 2, restart: kept[:2]}, 3380
	if testing.Short() {
		f.restart, want = kept[:1], 2028
	}
	explore(t, f.histories(sliding(), true)).holds(t, want)
}

// TestModelFindsIdleSender: what a window that slides cannot do is to wait for a
// sender that has nothing to say for an overlap, once another has used the new
// token; nor, where the cap is too short, for one that is too slow.
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
