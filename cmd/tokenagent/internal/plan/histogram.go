package plan

import (
	"math"
	"slices"
)

const (
	fineBins = 1200 // counted
	bins     = 12   // shown
)

// A histogram counts durations from 0 to top, in seconds; a longer one counts as the
// longest.
type histogram struct {
	top    float64
	counts [fineBins]uint64
	n      uint64
	least  float64
	most   float64
}

func newHistogram(top float64) *histogram {
	return &histogram{top: max(top, 1e-3), least: math.Inf(1), most: math.Inf(-1)}
}

func (h *histogram) add(seconds float64) {
	h.counts[max(0, min(int(seconds/h.top*fineBins), fineBins-1))]++
	h.n++
	h.least, h.most = min(h.least, seconds), max(h.most, seconds)
}

// quantile returns what a part q of all does not exceed, to within a 1200th of top.
func (h *histogram) quantile(q float64) float64 {
	want, sum := q*float64(h.n), 0.0
	for i, c := range h.counts[:fineBins-1] {
		if sum+float64(c) >= want && c > 0 {
			return min(h.most, max(h.least, h.top*(float64(i)+(want-sum)/float64(c))/fineBins))
		}
		sum += float64(c)
	}
	return h.most
}

// A bin is the part of all durations that are at least From and less than To. The last
// bin has the longer ones too.
type bin struct {
	From  float64 `json:"from_seconds"`
	To    float64 `json:"to_seconds"`
	Share float64 `json:"share"`
}

// A spread is quantiles.
type spread struct {
	Half seconds `json:"p50"`
	P95  seconds `json:"p95"`
	P99  seconds `json:"p99"`
	Most seconds `json:"max"`
}

// A shape is a spread and its bins.
type shape struct {
	spread
	Bins []bin `json:"bins"`
}

func (h *histogram) shape() shape {
	s := shape{spread: spreadOf(h.quantile)}
	for i := range bins {
		var sum uint64
		for _, c := range h.counts[i*fineBins/bins : (i+1)*fineBins/bins] {
			sum += c
		}
		s.Bins = append(s.Bins, bin{h.top * float64(i) / bins, h.top * float64(i+1) / bins, float64(sum) / float64(h.n)})
	}
	return s
}

func spreadOf(quantile func(q float64) float64) spread {
	at := func(q float64) seconds { return seconds(quantile(q)) }
	return spread{at(0.5), at(0.95), at(0.99), at(1)}
}

// quantiles sorts all, and returns what gives the quantiles.
func quantiles(all []float64) func(q float64) float64 {
	slices.Sort(all)
	return func(q float64) float64 { return all[min(int(q*float64(len(all))), len(all)-1)] }
}
