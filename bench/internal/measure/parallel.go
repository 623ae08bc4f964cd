package measure

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"sync/atomic"
)

// A Crew is an operation that several workers run at the same time. Make returns the Op
// of one worker, with everything that workers must not share.
type Crew struct {
	Name string
	Make func() (Op, error)
}

// A Scaling is the throughput of a Crew on one core and on two, in operations per
// second, by round.
type Scaling struct{ One, Two []float64 }

// Gain returns the throughput of two cores divided by that of one.
func (s Scaling) Gain() Estimate {
	return paired(s.Two, s.One, func(a, b float64) float64 { return a / b })
}

// Scale measures the crews in turns. Each runs with one worker on one core, then with
// two workers on two cores. Scale measures wall-clock time.
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

// apart makes the Ops of two workers of c at the same time, each on its own core, as if
// each core served its own requests. Data that one core allocates for both would share
// cache lines, and each core would wait for the writes of the other.
func apart(c Crew) (ops [2]Op, err error) {
	runtime.GOMAXPROCS(len(ops))
	var errs [len(ops)]error
	var here atomic.Int32
	var done sync.WaitGroup
	for k := range ops {
		done.Go(func() {
			for here.Add(1); here.Load() < int32(len(ops)); {
				// This is a busy loop, because the scheduler could run the other goroutine
				// on this core while this one waits.
			}
			ops[k], errs[k] = c.Make()
		})
	}
	done.Wait()
	return ops, errors.Join(errs[:]...)
}

// together runs each op n times, on as many cores as there are ops, and returns the
// operations per second. It first runs the same number to warm up, because the kernel
// maps memory again, page by page, that a collection gave back.
func together(ops []Op, n int) float64 {
	runtime.GOMAXPROCS(len(ops))
	var ready, done sync.WaitGroup
	runtime.GC() // collects the garbage of other operations
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
