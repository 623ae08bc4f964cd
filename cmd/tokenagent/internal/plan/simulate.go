package plan

import (
	"context"
	"fmt"
	"math"
	"runtime"
	"slices"
	"sync"
)

// A result is what many simulated rotations came to.
type result struct {
	rotations int
	refused   []refusal // the means, one for each setting
	wait      []float64 // what each rotation needed, ascending
	overlap   []float64
	reach     *histogram // of all receivers
	lastUses  *histogram // of the old token, of all senders
}

// rotationsFor returns how many rotations to simulate when nobody says: as many
// as take some seconds, and no more than what tells something.
func rotationsFor(m *model, settings []setting) int {
	const budget = 20_000_000 // receivers and senders drawn
	cost := float64(m.receivers + m.senders + m.newcomers)
	if m.sliding {
		cost *= 4 // both streams
		// Each window is followed renewal by renewal.
		for _, s := range settings {
			if s.overlap > 0 {
				cost += float64(m.receivers) * min(manyRenewals, s.maxOverlap/(s.overlap-renewalGrain(s.overlap)))
			}
		}
	}
	return max(leastRotations, min(1000, int(budget/cost)))
}

// leastRotations are simulated, however large they are: those of so many
// receivers differ little from each other.
const leastRotations = 10

// simulate simulates n rotations on all processors, calling done after each, one
// at a time. All settings share their wait. The answer depends on the model, the
// settings, n and seed alone. It ends early with the error of ctx.
func simulate(ctx context.Context, m *model, settings []setting, n int, seed uint64, done func(finished int)) (*result, error) {
	// Where there is no limit, the last bar is for one in a thousand.
	tops := m.overlaps(m.limits(0), 0, settings[0].wait)
	if math.IsInf(tops.reach, 1) {
		tops.reach = m.reach.most(1e-3)
	}
	if math.IsInf(tops.lastUse, 1) {
		tops.lastUse = m.lastUse(1e-3, 0)
	}
	trials := make([]trial, n)
	res := &result{rotations: n, reach: newHistogram(tops.reach), lastUses: newHistogram(tops.lastUse)}
	var mu sync.Mutex
	var next, finished int
	take := func() int {
		mu.Lock()
		defer mu.Unlock()
		next++
		return next - 1
	}
	var wg sync.WaitGroup
	for range min(n, runtime.GOMAXPROCS(0)) {
		wg.Go(func() {
			w := newWorker(m, newHistogram(tops.reach), newHistogram(tops.lastUse))
			for i := take(); i < n && ctx.Err() == nil; i = take() {
				trials[i] = w.run(seed, uint64(i), settings[0].wait, settings)
				mu.Lock()
				finished++
				done(finished)
				mu.Unlock()
			}
			mu.Lock()
			defer mu.Unlock()
			res.reach.join(w.reach)
			res.lastUses.join(w.lastUse)
		})
	}
	wg.Wait()
	if finished < n {
		return nil, fmt.Errorf("plan: ended after %d of %d rotations: %w", finished, n, ctx.Err())
	}
	res.sum(trials, len(settings))
	return res, nil
}

// sum adds up the trials in their order, since a sum of floats depends on it.
func (res *result) sum(trials []trial, settings int) {
	res.refused = make([]refusal, settings)
	for _, t := range trials {
		for i, f := range t.refused {
			res.refused[i].add(f, 1)
		}
		res.wait = append(res.wait, t.wait)
		res.overlap = append(res.overlap, t.overlap)
	}
	for i, total := range res.refused {
		res.refused[i] = refusal{}
		res.refused[i].add(total, 1/float64(len(trials)))
	}
	for _, s := range [][]float64{res.wait, res.overlap} {
		slices.Sort(s)
	}
}
