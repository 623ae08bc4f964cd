// Package measure compares operations on a machine that is not quiet.
//
// All operations of one comparison run by turns in one process, in slices of some
// milliseconds, so that whatever else the machine does falls on all of them. What
// is compared is the time that the process spent on a processor, and of that the
// ratios within one round.
package measure

import (
	"context"
	"fmt"
	"runtime"
	"time"

	"golang.org/x/perf/benchmath"
	"golang.org/x/sys/unix"
)

// An Op is something that can be done many times.
type Op struct {
	// Name is short, and becomes a part of a benchmark's name.
	Name string
	// Run does it n times.
	Run func(n int)
	// N is how often it is done in one slice. 0 means as often as fills it.
	N int
}

// An Effort says how much time a comparison may take.
type Effort struct {
	Rounds int           // how often each operation gets its turn
	Slice  time.Duration // of processor time, for each turn
	Quick  bool          // only see that everything runs: the figures mean nothing
}

// Longer is e with turns in which what leaves a few bytes behind, a million times in
// a tenth of a second, has them collected several times.
func (e Effort) Longer() Effort {
	if !e.Quick {
		e.Slice = 100 * time.Millisecond
	}
	return e
}

// Full is the effort for figures, Quick the one for a check that all runs.
func Full() Effort { return Effort{Rounds: 25, Slice: 40 * time.Millisecond} }

// Quick returns the effort for a check that everything runs.
func Quick() Effort { return Effort{Rounds: 2, Slice: 200 * time.Microsecond, Quick: true} }

// A Clock reads a time. Only the difference between two readings means something.
type Clock func() time.Duration

// Process is the processor time of the whole process, garbage collection
// included. See clock_gettime(2), CLOCK_PROCESS_CPUTIME_ID.
func Process() time.Duration { return clock(unix.CLOCK_PROCESS_CPUTIME_ID) }

// Thread is the processor time of this thread alone, for a goroutine that is
// locked to it.
func Thread() time.Duration { return clock(unix.CLOCK_THREAD_CPUTIME_ID) }

// Wall is the time that passes for everybody.
func Wall() time.Duration { return clock(unix.CLOCK_MONOTONIC) }

func clock(id int32) time.Duration {
	var t unix.Timespec
	if err := unix.ClockGettime(id, &t); err != nil {
		panic(err) // an unknown clock: not on any Linux
	}
	return time.Duration(t.Nano())
}

// A Series is what was measured of one Op: nanoseconds of each round.
type Series struct {
	Name string
	N    int // operations in a slice
	NS   []float64
}

// ByTurns measures ops on one core, in rounds in which each has its turn. The
// first one to go differs from round to round.
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

// turn returns the nanoseconds that op takes, done n times. The garbage of whoever
// had the turn before is not its business. Its own is, if it makes enough for a
// collection to begin: see [Effort.Longer].
func turn(op Op, n int, c Clock) float64 {
	runtime.GC()
	began := c()
	op.Run(n)
	return float64(c()-began) / float64(n)
}

// calibrate returns how often op fits into slice. What it runs warms it up.
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

// An Estimate is a median and the bounds within which it lies with 95%
// confidence. The zero Estimate stands for nothing measured.
type Estimate struct{ Value, Low, High float64 }

// Known reports whether there is one.
func (e Estimate) Known() bool { return e != Estimate{} }

// Of returns the median of values. It assumes nothing of how they are
// distributed.
func Of(values []float64) Estimate {
	if len(values) == 0 {
		return Estimate{}
	}
	s := benchmath.AssumeNothing.Summary(benchmath.NewSample(values, &benchmath.DefaultThresholds), 0.95)
	return Estimate{s.Center, s.Lo, s.Hi}
}

// Exactly returns the Estimate of what was counted and not sampled.
func Exactly(v float64) Estimate { return Estimate{v, v, v} }

// Median returns the Estimate of s.
func (s Series) Median() Estimate { return Of(s.NS) }

// Ratio returns the Estimate of s by other, round by round.
func (s Series) Ratio(other Series) Estimate {
	return paired(s.NS, other.NS, func(a, b float64) float64 { return a / b })
}

// Minus returns the Estimate of s less other, round by round.
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
