package sections

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"github.com/tokenagent/tokenagent/agent"
	"github.com/tokenagent/tokenagent/bench/internal/measure"
	"github.com/tokenagent/tokenagent/bench/internal/report"
	"github.com/tokenagent/tokenagent/bench/internal/work"
)

// busy compares a verification while its file is replaced 1,000 times a second
// with one while nothing happens, on the thread that verifies: half of the turns
// are of the one kind, half of the other.
func busy(ctx context.Context, r *report.Run) ([]report.Row, error) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(2))
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	dir, err := folder(r)
	if err != nil {
		return nil, err
	}
	a, err := work.Agent(ctx, dir, 2)
	if err != nil {
		return nil, err
	}
	defer a.Close()
	w := &replacer{path: filepath.Join(dir, "tokens-2"), agent: a}
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
	if !r.Quick && rate < 900 {
		return nil, fmt.Errorf("only %.0f reloads a second took place", rate)
	}
	row := report.Row{
		What: fmt.Sprintf("Agent.Verify, at %.0f reloads a second", rate),
		Ours: loaded.Median(), PeerName: "itself while nothing changes", Peer: idle.Median(), Ratio: loaded.Ratio(idle),
	}
	return []report.Row{row.AtMost(1.1, row.Ratio.Value, "within 10%")}, nil
}

// A replacer renames a new file over the old one, 1,000 times a second, and has the
// agent look at once, so that no two changes count as one.
type replacer struct {
	path  string
	agent *agent.Agent
	i     int
}

// start begins, and returns what ends it.
func (w *replacer) start() (stop func() error) {
	ended, end := make(chan error, 1), make(chan struct{})
	go func() {
		tick := time.NewTicker(time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-end:
				ended <- nil
				return
			case <-tick.C:
				if err := w.replace(); err != nil {
					ended <- err
					return
				}
			}
		}
	}()
	return func() error { close(end); return <-ended }
}

// replace writes another second token. The first one stays.
func (w *replacer) replace() error {
	w.i++
	text := work.Token(0) + "\n" + work.Token(1+w.i%7) + "\n"
	if err := os.WriteFile(w.path+".new", []byte(text), 0o600); err != nil {
		return err
	}
	if err := os.Rename(w.path+".new", w.path); err != nil {
		return err
	}
	if _, err := w.agent.Reload(); err != nil {
		return errors.Join(errors.New("a good file was refused"), err)
	}
	return nil
}
