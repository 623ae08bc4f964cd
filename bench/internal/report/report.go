// Package report holds the results, compares them with their targets, and writes them
// as tables.
package report

import (
	"context"
	"fmt"
	"math"

	"github.com/tokenagent/tokenagent/bench/internal/measure"
)

// A Section is one part of the benchmarks. To add one, write a function and add it to
// sections.All.
type Section struct {
	Name  string // one word, for -only
	Title string
	Run   func(ctx context.Context, r *Run) ([]Row, error)
}

// A Run holds what a Section needs, and collects its measurements.
type Run struct {
	measure.Effort
	Dir string // for the files of the sections
	// Self is the path of the running program. A section may start it as a child; see
	// package watch.
	Self string
	Raw  []string // measurements as lines of Go benchmarks; sections add to them
}

// Keep adds the measurements to Raw.
func (r *Run) Keep(group string, all ...measure.Series) {
	for _, s := range all {
		r.Raw = append(r.Raw, s.Lines(group)...)
	}
}

// A Row is one line of the table.
type Row struct {
	What     string
	Unit     Unit
	Ours     measure.Estimate
	PeerName string // "" means no peer
	Peer     measure.Estimate
	// Missed is the text in place of Peer if the peer has no figure, such as "not
	// within 2s".
	Missed string
	Ratio  measure.Estimate // ours divided by the peer's
	Floor  measure.Estimate // the least that any implementation needs; zero means none
	Target string           // in words; "" means none
	Met    bool             // whether Target is reached
}

// A Unit is the unit of the figures of a Row.
type Unit int

// The units. A table shows durations in the unit that fits their size.
const (
	Nanoseconds Unit = iota
	Times            // a factor
	PerSecond
	Count
)

// AtMostOfPeer sets the target that our figure is at most part times the peer's.
func (r Row) AtMostOfPeer(part float64) Row {
	r.Target, r.Met = "at most "+share(part), r.Ratio.Known() && r.Ratio.Value <= part
	if r.Missed != "" {
		r.Met = true
	}
	return r
}

// AtMostFloor sets the target that our figure is at most times the floor. byFloor is
// our figure divided by the floor, round by round.
func (r Row) AtMostFloor(times float64, byFloor measure.Estimate) Row {
	r.Target, r.Met = fmt.Sprintf("at most %g times the floor (is %.2f)", times, byFloor.Value), byFloor.Known() && byFloor.Value <= times
	return r
}

// AtMost sets the target that value is at most limit. words describes it.
func (r Row) AtMost(limit, value float64, words string) Row {
	r.Target, r.Met = words, value <= limit
	return r
}

// AtLeast sets the target that value is at least limit. words describes it.
func (r Row) AtLeast(limit, value float64, words string) Row {
	r.Target, r.Met = words, value >= limit
	return r
}

// share formats 0.02 as "1/50 of the peer".
func share(part float64) string {
	switch {
	case part == 1:
		return "the peer"
	case part > 0.5:
		return fmt.Sprintf("%g times the peer", part)
	default:
		return fmt.Sprintf("1/%d of the peer", int(math.Round(1/part)))
	}
}
