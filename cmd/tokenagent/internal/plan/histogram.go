package plan

import (
	"fmt"
	"math"
	"strings"
)

const (
	fineBins = 1200 // what is counted
	bins     = 12   // what is shown
)

// A histogram counts durations from 0 to top, in seconds; what is longer is
// counted with the longest. The zero value is not usable. It is not safe for
// concurrent use.
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
	i := int(seconds / h.top * fineBins)
	h.counts[max(0, min(i, fineBins-1))]++
	h.n++
	h.least = min(h.least, seconds)
	h.most = max(h.most, seconds)
}

// join adds what o counted, which has the same top.
func (h *histogram) join(o *histogram) {
	for i, c := range o.counts {
		h.counts[i] += c
	}
	h.n += o.n
	h.least = min(h.least, o.least)
	h.most = max(h.most, o.most)
}

// quantile returns the duration that a part q of all does not exceed, to within
// a 1200th of top and never beyond the longest.
func (h *histogram) quantile(q float64) float64 {
	want, sum := q*float64(h.n), 0.0
	for i, c := range h.counts {
		if sum+float64(c) >= want && c > 0 {
			if i == fineBins-1 {
				return h.most
			}
			return min(h.most, max(h.least, h.top*(float64(i)+(want-sum)/float64(c))/fineBins))
		}
		sum += float64(c)
	}
	return h.most
}

// A bin is one bar: the part of all that is at least from and less than to. The
// last one holds what is longer, too.
type bin struct {
	From  float64 `json:"from_seconds"`
	To    float64 `json:"to_seconds"`
	Share float64 `json:"share"`
}

func (h *histogram) bins() []bin {
	out := make([]bin, bins)
	for i := range out {
		var sum uint64
		for _, c := range h.counts[i*fineBins/bins : (i+1)*fineBins/bins] {
			sum += c
		}
		out[i] = bin{h.top * float64(i) / bins, h.top * float64(i+1) / bins, float64(sum) / float64(max(h.n, 1))}
	}
	return out
}

// barWidth is that of the longest bar, so that a line fits 80 columns.
const barWidth = 40

// draw returns the histogram as lines of text.
func drawBins(all []bin) string {
	highest := 0.0
	for _, b := range all {
		highest = max(highest, b.Share)
	}
	var out strings.Builder
	for i, b := range all {
		bar := 0
		if highest > 0 {
			bar = int(math.Ceil(b.Share / highest * barWidth))
		}
		to := coarse(b.To)
		if i == len(all)-1 {
			to = "more"
		}
		line := fmt.Sprintf("  %7s to %-7s %5.1f%% %s", coarse(b.From), to, 100*b.Share, strings.Repeat("#", bar))
		out.WriteString(strings.TrimRight(line, " ") + "\n")
	}
	return out.String()
}

// coarse writes seconds for people: to a tenth below 10 s, else whole.
func coarse(seconds float64) string {
	if seconds < 10 {
		return short(math.Round(seconds*10) / 10)
	}
	return short(math.Round(seconds))
}
