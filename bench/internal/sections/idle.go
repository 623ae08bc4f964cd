package sections

import (
	"context"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"github.com/tokenagent/tokenagent/bench/internal/measure"
	"github.com/tokenagent/tokenagent/bench/internal/report"
	"github.com/tokenagent/tokenagent/bench/internal/watch"
)

// idle compares what it costs to watch a file that does not change: each in a
// process of its own, all at the same time.
func idle(ctx context.Context, r *report.Run) ([]report.Row, error) {
	lasting := 60 * time.Second
	if r.Quick {
		lasting = 100 * time.Millisecond
	}
	// Not below /tmp, where every new file wakes who watches the folders above.
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
	costs, errs := make([]watch.Cost, len(names)), make([]error, len(names))
	var all sync.WaitGroup
	for i, name := range names {
		dir := filepath.Join(home, strconv.Itoa(i))
		all.Go(func() { costs[i], errs[i] = watch.Child(ctx, r.Self, name, dir, lasting) })
	}
	all.Wait()
	for _, err := range errs {
		if err != nil {
			return nil, err
		}
	}
	wakes := func(c watch.Cost) measure.Estimate {
		return measure.Exactly(float64(c.Switches) / c.For.Seconds())
	}
	busy := func(c watch.Cost) measure.Estimate {
		return measure.Exactly(float64(c.CPU) / c.For.Seconds())
	}
	var rows []report.Row
	bare := costs[len(costs)-1]
	for _, m := range []struct {
		what string
		of   func(watch.Cost) measure.Estimate
		unit report.Unit
	}{{"threads that go to sleep", wakes, report.PerSecond}, {"processor time in a second", busy, report.Nanoseconds}} {
		for i, name := range names[1 : len(names)-1] {
			row := report.Row{
				What: m.what, Unit: m.unit, Ours: m.of(costs[0]), PeerName: name, Peer: m.of(costs[i+1]),
				Floor: m.of(bare),
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
