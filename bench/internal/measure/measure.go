// Package measure compares operations on a machine that other processes use as well.
//
// All operations of one comparison take turns in one process, in slices of some
// milliseconds. Other load on the machine therefore affects all of them equally. The
// package measures the processor time of the process, and compares operations by their
// ratio within one round.
package measure

import (
	"context"
	"fmt"
	"runtime"
	"time"

	"golang.org/x/perf/benchmath"
	"golang.org/x/sys/unix"
)

// An Op is an operation to measure.
type Op struct {
	// Name is short. It becomes a part of a benchmark's name.
	Name string
	// Run runs the operation n times.
	Run func(n int)
	// N is how often the operation runs in one slice. 0 means as often as fits.
	N int
}

// An Effort says how much time a comparison may take.
type Effort struct {
	Rounds int           // how many turns each operation has
	Slice  time.Duration // the processor time of each turn
	Quick  bool          // check only that everything runs; the figures mean nothing
}

// Longer returns e with slices of 100 ms. In that time an operation that allocates a
// few bytes runs about a million times, and its garbage is collected several times.
func (e Effort) Longer() Effort {
	if !e.Quick {
		e.Slice = 100 * time.Millisecond
	}
	return e
}

// Full returns the effort for figures to publish.
func Full() Effort { return Effort{Rounds: 25, Slice: 40 * time.Millisecond} }

// Quick returns the effort for a check that everything runs.
func Quick() Effort { return Effort{Rounds: 2, Slice: 200 * time.Microsecond, Quick: true} }

// A Clock returns a time. Only the difference between two readings has a meaning.
type Clock func() time.Duration

// Process returns the processor time of the whole process, including garbage
// collection. See clock_gettime(2), CLOCK_PROCESS_CPUTIME_ID.
func Process() time.Duration { return clock(unix.CLOCK_PROCESS_CPUTIME_ID) }

// Thread returns the processor time of the current thread. The calling goroutine must
// be locked to it.
func Thread() time.Duration { return clock(unix.CLOCK_THREAD_CPUTIME_ID) }

// Wall returns the time of the monotonic clock.
func Wall() time.Duration { return clock(unix.CLOCK_MONOTONIC) }

func clock(id int32) time.Duration {
	var t unix.Timespec
	if err := unix.ClockGettime(id, &t); err != nil {
		panic(err) // only for an unknown clock; Linux has these three
	}
	return time.Duration(t.Nano())
}

// A Series holds the measurements of one Op.
type Series struct {
	Name string
	N    int       // operations in a slice
	NS   []float64 // nanoseconds per operation, by round
}

// ByTurns measures ops on one core. Each has one turn in a round. Each round starts
// with a different one.
func ByTurns(ctx context.Context, e Effort, ops ...Op) ([]Series, error) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	runtime.GC()
	all := make([]Series, len(ops))
	for i := range ops {
		all[i] = Series{Name: ops[i].Name, N: calibrate(ops[i], e.Slice, Process)}
	}
	for r := range e.Rounds {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		for k := range ops {
			i := (r + k) % len(ops)
			all[i].NS = append(all[i].NS, turn(ops[i], all[i].N, Process))
		}
	}
	return all, nil
}

// turn runs op n times, and returns the nanoseconds per run. It first collects the
// garbage of earlier operations. The time includes the collection of op's own garbage
// if that is enough to start one: see [Effort.Longer].
func turn(op Op, n int, c Clock) float64 {
	runtime.GC()
	began := c()
	op.Run(n)
	return float64(c()-began) / float64(n)
}

// calibrate returns how often op fits into slice. It also warms op up.
func calibrate(op Op, slice time.Duration, c Clock) int {
	if op.N > 0 {
		return op.N
	}
	for n := 1; ; {
		began := c()
		op.Run(n)
		took := c() - began
		if took >= slice/2 {
			return max(1, int(float64(n)*float64(slice)/float64(took)))
		}
		n = max(2*n, min(100*n, int(float64(n)*float64(slice)/float64(took+1))))
	}
}

// An Estimate is a median with its 95% confidence interval. The zero Estimate means
// that nothing was measured.
type Estimate struct{ Value, Low, High float64 }

// Known reports whether something was measured.
func (e Estimate) Known() bool { return e != Estimate{} }

// Of returns the Estimate of the median of values. It does not assume a distribution.
func Of(values []float64) Estimate {
	if len(values) == 0 {
		return Estimate{}
	}
	s := benchmath.AssumeNothing.Summary(benchmath.NewSample(values, &benchmath.DefaultThresholds), 0.95)
	return Estimate{s.Center, s.Lo, s.Hi}
}

// Exactly returns the Estimate of a value that was counted, not sampled.
func Exactly(v float64) Estimate { return Estimate{v, v, v} }

// Median returns the Estimate of the median of s.
func (s Series) Median() Estimate { return Of(s.NS) }

// Ratio returns the Estimate of s divided by other, round by round.
func (s Series) Ratio(other Series) Estimate {
	return paired(s.NS, other.NS, func(a, b float64) float64 { return a / b })
}

// Minus returns the Estimate of s minus other, round by round.
func (s Series) Minus(other Series) Estimate {
	return paired(s.NS, other.NS, func(a, b float64) float64 { return a - b })
}

func paired(as, bs []float64, f func(a, b float64) float64) Estimate {
	values := make([]float64, min(len(as), len(bs)))
	for i := range values {
		values[i] = f(as[i], bs[i])
	}
	return Of(values)
}

// Lines returns s as the lines of a Go benchmark, for benchstat.
func (s Series) Lines(group string) []string {
	lines := make([]string, len(s.NS))
	for i, ns := range s.NS {
		lines[i] = fmt.Sprintf("Benchmark%s/%s\t%d\t%.2f ns/op", group, s.Name, s.N, ns)
	}
	return lines
}
