// Package report holds what is measured, judges it, and writes it down.
package report

import (
	"context"
	"fmt"
	"math"

	"github.com/tokenagent/tokenagent/bench/internal/measure"
)

// A Section is one part of the benchmarks. To add one, write a function and name
// it in cmd/bench.
type Section struct {
	Name  string // one word, for -only
	Title string
	Run   func(ctx context.Context, r *Run) ([]Row, error)
}

// A Run is what a Section works with.
type Run struct {
	measure.Effort
	Dir string // for files, the section's own
	// Self is the path of the running program, which a section may start again as
	// a child; see package watch.
	Self string
	Raw  []string // lines in the format of Go benchmarks, which sections add to
}

// Keep adds what was measured to the lines for benchstat.
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
	PeerName string // "" where there is none
	Peer     measure.Estimate
	// Missed is what to say in Peer's place where a peer gave no figure, such as
	// "never within 2 s".
	Missed string
	Ratio  measure.Estimate // ours by peer
	Floor  measure.Estimate // what nothing can undercut; zero for none
	Target string           // in words; "" for none
	Met    bool             // whether Target is reached
}

// A Unit is what the figures of a Row are in.
type Unit int

// The units. Durations are in nanoseconds and are written in what reads best.
const (
	Nanoseconds Unit = iota
	Times            // how many times as much
	PerSecond
	Count
)

// AtMostOfPeer sets the target that ours is at most part of the peer's figure.
func (r Row) AtMostOfPeer(part float64) Row {
	r.Target, r.Met = "at most "+share(part), r.Ratio.Known() && r.Ratio.Value <= part
	if r.Missed != "" {
		r.Met = true
	}
	return r
}

// AtMostFloor sets the target that ours is at most times the floor; byFloor is
// ours by the floor, round by round.
func (r Row) AtMostFloor(times float64, byFloor measure.Estimate) Row {
	r.Target, r.Met = fmt.Sprintf("at most %g times the floor (is %.2f)", times, byFloor.Value), byFloor.Known() && byFloor.Value <= times
	return r
}

// AtMost sets the target that value is at most limit.
func (r Row) AtMost(limit, value float64, words string) Row {
	r.Target, r.Met = words, value <= limit
	return r
}

// AtLeast sets the target that value is at least limit.
func (r Row) AtLeast(limit, value float64, words string) Row {
	r.Target, r.Met = words, value >= limit
	return r
}

// share writes 0.02 as "1/50 of the peer".
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
