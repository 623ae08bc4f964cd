package measure

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"sync/atomic"
)

// A Crew makes an Op for each goroutine that is to do it at the same time, with
// what it may not share.
type Crew struct {
	Name string
	Make func() (Op, error)
}

// A Scaling is the throughput of a Crew on one core and on two, in operations a
// second, round by round.
type Scaling struct{ One, Two []float64 }

// Gain returns how many times as much two cores do.
func (s Scaling) Gain() Estimate {
	return paired(s.Two, s.One, func(a, b float64) float64 { return a / b })
}

// Scale measures the crews by turns, each with one worker on one core, then with
// two on two. Here only the time on the wall tells.
func Scale(ctx context.Context, e Effort, crews ...Crew) ([]Scaling, error) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(0))
	all, ops, ns := make([]Scaling, len(crews)), make([][2]Op, len(crews)), make([]int, len(crews))
	for i, c := range crews {
		var err error
		if ops[i], err = apart(c); err != nil {
			return nil, err
		}
		runtime.GOMAXPROCS(1)
		ns[i] = calibrate(ops[i][0], e.Slice, Wall)
	}
	for range e.Rounds {
		for i := range crews {
			if err := ctx.Err(); err != nil {
				return nil, err
			}
			all[i].One = append(all[i].One, together(ops[i][:1], ns[i]))
			all[i].Two = append(all[i].Two, together(ops[i][:], ns[i]))
		}
	}
	return all, nil
}

// apart makes the Ops of two workers of c at the same moment, each on a core of its
// own, as they would be if each core served its own requests. Made one after another
// they lie side by side in memory, and each core waits for cache lines that the other
// one writes to.
func apart(c Crew) (ops [2]Op, err error) {
	runtime.GOMAXPROCS(len(ops))
	var errs [len(ops)]error
	var here atomic.Int32
	var done sync.WaitGroup
	for k := range ops {
		done.Go(func() {
			for here.Add(1); here.Load() < int32(len(ops)); {
				// where it waits in any other way, the other one may be run here as well
			}
			ops[k], errs[k] = c.Make()
		})
	}
	done.Wait()
	return ops, errors.Join(errs[:]...)
}

// together runs each op n times, on as many cores as there are ops, and returns
// the operations a second. Before that it does as much to warm up: memory that a
// collection gave back comes from the kernel page by page.
func together(ops []Op, n int) float64 {
	runtime.GOMAXPROCS(len(ops))
	var ready, done sync.WaitGroup
	runtime.GC() // the garbage of others; what it leaves of its own while it warms up is as it will be
	start := make(chan struct{})
	for _, op := range ops {
		ready.Add(1)
		done.Go(func() {
			op.Run(n)
			ready.Done()
			<-start
			op.Run(n)
		})
	}
	ready.Wait()
	began := Wall()
	close(start)
	done.Wait()
	return float64(len(ops)*n) / (Wall() - began).Seconds()
}
