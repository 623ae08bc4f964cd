package sections

import (
	"context"
	"fmt"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"time"

	"github.com/tokenagent/tokenagent/bench/internal/measure"
	"github.com/tokenagent/tokenagent/bench/internal/report"
	"github.com/tokenagent/tokenagent/bench/internal/watch"
)

// latency compares how soon new content is served. The peers take turns, change by
// change. Those that poll have fewer turns, because each turn takes a poll interval.
func latency(ctx context.Context, r *report.Run) ([]report.Row, error) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(2))
	back, err := measure.OwnCore()
	if err != nil {
		return nil, err
	}
	defer back()
	var rows []report.Row
	for _, c := range []watch.Change{watch.Kubelet(), watch.Rename(), watch.Recreate()} {
		some, err := latencyOf(ctx, r, c)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", c.Name, err)
		}
		rows = append(rows, some...)
	}
	row, err := lazy(ctx, r)
	return append(rows, row...), err
}

// A tally holds the results of one Kind.
type tally struct {
	took   []float64 // how long each change took
	missed int       // the number of changes that were not served in time
}

func (t *tally) quantile(part float64) float64 {
	sorted := slices.Sorted(slices.Values(t.took))
	return sorted[min(len(sorted)-1, int(part*float64(len(sorted))))]
}

func latencyOf(ctx context.Context, r *report.Run, c watch.Change) ([]report.Row, error) {
	// patience is how long a change may take before it counts as missed.
	rounds, polled, patience := 1200, 15, 2*time.Second
	if r.Quick {
		rounds, polled = 2, 1
	}
	misses := 3
	if r.Quick {
		misses = 1
	}
	parent, remove, err := inMemory(r)
	if err != nil {
		return nil, err
	}
	defer remove()
	var trials []*watch.Trial
	defer func() {
		for _, t := range trials {
			_ = t.Close()
		}
	}()
	for _, k := range watch.Kinds() {
		if k.Name == "client-go" { // see lazy
			continue
		}
		t, err := watch.NewTrial(ctx, k, c, filepath.Join(parent, strconv.Itoa(len(trials))))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", k.Name, err)
		}
		trials = append(trials, t)
	}
	tallies := make([]tally, len(trials))
	for n := range rounds {
		for k := range trials {
			i := (n + k) % len(trials)
			t, seen := trials[i], &tallies[i]
			// Each miss takes as long as patience, and three of them are enough.
			if t.Kind.Polls && n >= polled || seen.missed >= misses {
				continue
			}
			took, served, err := t.Next(ctx, patience)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", t.Kind.Name, err)
			}
			if !served {
				seen.missed++
				continue
			}
			seen.took = append(seen.took, float64(took))
		}
	}
	return latencyRows(c, patience, trials, tallies), nil
}

func latencyRows(c watch.Change, patience time.Duration, trials []*watch.Trial, tallies []tally) []report.Row {
	var rows []report.Row
	ours := &tallies[0]
	if len(ours.took) == 0 {
		return []report.Row{{What: c.Name, Missed: "tokenagent never served the change"}}
	}
	for i, t := range trials[1:] {
		peer := &tallies[i+1]
		for _, q := range []struct {
			name string
			part float64
		}{{"p50", 0.5}, {"p99", 0.99}} {
			row := report.Row{What: c.Name + ", " + q.name, PeerName: t.Kind.Name, Ours: measure.Exactly(ours.quantile(q.part))}
			if peer.missed > 0 || len(peer.took) == 0 {
				row.Missed = fmt.Sprintf("not within %s", patience)
			} else {
				row.Peer = measure.Exactly(peer.quantile(q.part))
				row.Ratio = measure.Exactly(row.Ours.Value / row.Peer.Value)
			}
			if q.name == "p99" && !t.Kind.Polls {
				row = row.AtMostOfPeer(1)
			}
			rows = append(rows, row)
			if row.Missed != "" {
				break
			}
		}
	}
	last := report.Row{What: c.Name + ", p99", Ours: measure.Exactly(ours.quantile(0.99))}
	return append(rows, last.AtMost(float64(5*time.Millisecond), last.Ours.Value, "at most 5 ms"))
}
