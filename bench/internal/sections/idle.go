package sections

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"github.com/tokenagent/tokenagent/bench/internal/measure"
	"github.com/tokenagent/tokenagent/bench/internal/report"
	"github.com/tokenagent/tokenagent/bench/internal/watch"
)

// idlers is the number of processes of each kind. The section reports their mean,
// because the threads of one Go process can go to sleep three times as often as those
// of another that does the same.
const idlers = 15

// idle compares the cost of watching a file that does not change. Each kind runs in its
// own processes. All run at the same time, and start one after another.
func idle(ctx context.Context, r *report.Run) ([]report.Row, error) {
	lasting, apart := 60*time.Second, 10*time.Second
	if r.Quick {
		lasting, apart = 100*time.Millisecond, 0
	}
	// This is not below /tmp, where every new file wakes processes that watch the
	// parent directories.
	home, err := os.UserHomeDir()
	if err != nil {
		return nil, err
	}
	if home, err = os.MkdirTemp(home, ".tokenagent-bench-"); err != nil {
		return nil, err
	}
	defer func() { _ = os.RemoveAll(home) }()
	var names []string
	for _, k := range watch.Kinds() {
		names = append(names, k.Name)
	}
	names = append(names, watch.Nothing)
	costs, errs := make([][idlers]watch.Cost, len(names)), make([]error, len(names)*idlers)
	dirs := make([]string, len(errs))
	for n := range dirs {
		// All directories exist before the first process starts, because a new one wakes
		// processes that watch the parent directory.
		dirs[n] = filepath.Join(home, strconv.Itoa(n))
		if err := os.Mkdir(dirs[n], 0o700); err != nil {
			return nil, err
		}
	}
	var all sync.WaitGroup
	for i, name := range names {
		for k := range idlers {
			n := i*idlers + k
			late := apart * time.Duration(k*len(names)+i) / time.Duration(len(errs))
			all.Go(func() {
				costs[i][k], errs[n] = watch.Child(ctx, r.Self, name, filepath.Join(dirs[n], "watched"), late, lasting)
			})
		}
	}
	all.Wait()
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	wakes := func(c watch.Cost) float64 { return float64(c.Switches) / c.For.Seconds() }
	busy := func(c watch.Cost) float64 { return float64(c.CPU) / c.For.Seconds() }
	mean := func(all [idlers]watch.Cost, of func(watch.Cost) float64) measure.Estimate {
		sum := 0.0
		for _, c := range all {
			sum += of(c)
		}
		return measure.Exactly(sum / idlers)
	}
	var rows []report.Row
	bare := costs[len(costs)-1]
	for _, m := range []struct {
		what string
		of   func(watch.Cost) float64
		unit report.Unit
	}{{"voluntary context switches", wakes, report.PerSecond}, {"processor time per second", busy, report.Nanoseconds}} {
		for i, name := range names[1 : len(names)-1] {
			row := report.Row{
				What: m.what, Unit: m.unit, Ours: mean(costs[0], m.of), PeerName: name, Peer: mean(costs[i+1], m.of),
				Floor: mean(bare, m.of),
			}
			row.Ratio = measure.Exactly(row.Ours.Value / row.Peer.Value)
			if name == "certwatcher" {
				row = row.AtMostOfPeer(1)
			}
			rows = append(rows, row)
		}
	}
	return rows, nil
}
