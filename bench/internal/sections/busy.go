package sections

import (
	"context"
	"fmt"
	"runtime"
	"time"

	"github.com/tokenagent/tokenagent/agent"
	"github.com/tokenagent/tokenagent/bench/internal/measure"
	"github.com/tokenagent/tokenagent/bench/internal/report"
	"github.com/tokenagent/tokenagent/bench/internal/watch"
	"github.com/tokenagent/tokenagent/bench/internal/work"
)

// busy compares verifications while the token file is replaced 1,000 times per second
// with verifications while it does not change. Turns of the two kinds alternate. busy
// measures only the thread that verifies.
func busy(ctx context.Context, r *report.Run) ([]report.Row, error) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(2))
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	dir, err := folder(r)
	if err != nil {
		return nil, err
	}
	flip, a, err := watch.TwoTokens(ctx, dir)
	if err != nil {
		return nil, err
	}
	defer a.Close()
	w := &replacer{flip, a}
	turn := 200 * time.Millisecond
	if r.Quick {
		turn = 10 * time.Millisecond
	}
	token := work.Token(0)
	verify := func(until time.Duration) (ns float64) {
		began, end, n := measure.Thread(), measure.Wall()+until, 0
		for measure.Wall() < end {
			for range 1000 {
				if _, err := a.Verify(ctx, token); err != nil {
					panic(err)
				}
			}
			n += 1000
		}
		return float64(measure.Thread()-began) / float64(n)
	}
	verify(turn)
	idle, loaded := measure.Series{Name: "idle"}, measure.Series{Name: "reloading"}
	var reloads uint64
	var lasted time.Duration
	for range r.Rounds {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		idle.NS = append(idle.NS, verify(turn))
		before, began := a.Status().Sources[0].Generation, time.Now()
		stop := w.start()
		loaded.NS = append(loaded.NS, verify(turn))
		if err := stop(); err != nil {
			return nil, err
		}
		lasted += time.Since(began)
		reloads += a.Status().Sources[0].Generation - before
	}
	r.Keep("Busy", idle, loaded)
	rate := float64(reloads) / lasted.Seconds()
	row := report.Row{
		What: fmt.Sprintf("Agent.Verify, at %.0f reloads per second", rate),
		Ours: loaded.Median(), PeerName: "tokenagent while nothing changes", Peer: idle.Median(), Ratio: loaded.Ratio(idle),
	}
	row = row.AtMost(1.1, row.Ratio.Value, "within 10%, at 900 or more reloads per second")
	row.Met = row.Met && rate >= 900
	return []report.Row{row}, nil
}

// A replacer swaps the token file 1,000 times per second, as a kubelet does, and makes
// the agent read it at once.
type replacer struct {
	flip  *watch.Flip
	agent *agent.Agent
}

// start starts the swaps, and returns a function that stops them.
func (w *replacer) start() (stop func() error) {
	ended, end := make(chan error, 1), make(chan struct{})
	go func() {
		next := time.Now()
		for {
			select {
			case <-end:
				ended <- nil
				return
			case <-time.After(time.Until(next)):
			}
			next = next.Add(time.Millisecond)
			if err := w.swap(); err != nil {
				ended <- err
				return
			}
		}
	}()
	return func() error { close(end); return <-ended }
}

func (w *replacer) swap() error {
	if err := w.flip.Next(); err != nil {
		return err
	}
	_, err := w.agent.Reload()
	return err
}
