package sections

import (
	"context"
	"fmt"
	"time"

	"github.com/tokenagent/tokenagent/bench/internal/measure"
	"github.com/tokenagent/tokenagent/bench/internal/report"
	"github.com/tokenagent/tokenagent/bench/internal/watch"
)

// period is the age of the last read at which client-go reads again: a minute minus
// 10 s (transport/token_source.go).
const period = 50 * time.Second

// A lazyOne is one instance of client-go's token source. It is asked all the time.
type lazyOne struct {
	trial  *watch.Trial
	steps  watch.Steps
	serves func() bool
	loaded time.Time
	shown  time.Time // when the change was made; zero before
	took   time.Duration
}

// lazy measures client-go's token source, which reads only when it is asked and its last
// read is older than period. Many instances wait in parallel. Each sees its change at
// another moment of the period, so that the moments are spread evenly.
func lazy(ctx context.Context, r *report.Run) ([]report.Row, error) {
	many := 25
	if r.Quick {
		many = 1
	}
	var all []*lazyOne
	defer func() {
		for _, l := range all {
			_ = l.trial.Close()
		}
	}()
	kinds := watch.Kinds()
	for range many {
		dir, err := folder(r)
		if err != nil {
			return nil, err
		}
		l := &lazyOne{loaded: time.Now()}
		if l.trial, err = watch.NewTrial(ctx, kinds[len(kinds)-1], watch.Kubelet(), dir); err != nil {
			return nil, err
		}
		all = append(all, l)
		if l.steps, err = l.trial.Start(ctx); err != nil {
			return nil, err
		}
		l.serves = l.trial.Serves()
	}
	if r.Quick { // the rest takes a minute
		return nil, nil
	}
	var took []float64
	for tick := time.NewTicker(10 * time.Millisecond); len(took) < many; {
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-tick.C:
		}
		for n, l := range all {
			seen, err := l.look(period * time.Duration(n) / time.Duration(many))
			if err != nil {
				return nil, err
			}
			if seen {
				took = append(took, float64(l.took))
			}
			if time.Since(l.loaded) > 2*period {
				return nil, fmt.Errorf("client-go does not serve the new content after %s", 2*period)
			}
		}
	}
	return []report.Row{{
		What: "kubelet swap, p50, reads only when asked and 50 s after its last read", PeerName: "client-go",
		Peer: measure.Exactly((&tally{took: took}).quantile(0.5)),
	}}, nil
}

// look makes the change when it is due, and reports whether the new content is served
// now for the first time.
func (l *lazyOne) look(due time.Duration) (bool, error) {
	served := l.serves() // asks before the change as well
	switch {
	case l.took > 0:
	case l.shown.IsZero() && time.Since(l.loaded) >= due:
		l.shown = time.Now()
		if err := l.steps.Show(); err != nil {
			return false, err
		}
		return false, l.steps.After()
	case !l.shown.IsZero() && served:
		l.took = time.Since(l.shown)
		return true, nil
	}
	return false, nil
}
