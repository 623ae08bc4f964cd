package plan

import (
	"math"
	"math/rand/v2"
	"slices"
	"sort"
)

// A receiver is one receiver in a simulated rotation. Times are in seconds from the change.
// It accepts what a ledger of package rotation accepts; a test compares the two. A ledger
// for each of 100,000 receivers would take minutes.
type receiver struct {
	staged   float64 // when it publishes the staged token; +Inf without staging
	promoted float64 // when it publishes that the new token is current
	// begins is when the overlap begins: with a declared deadline at the change, by the
	// operator's clock; otherwise at promoted, or at the first use of the new token.
	begins float64
}

// knows returns from when the receiver accepts the new token.
func (v *receiver) knows() float64 { return min(v.staged, v.promoted) }

// end returns from when the receiver refuses the old token, unless the overlap slides.
func (v *receiver) end(overlap float64) float64 { return max(v.promoted, v.begins+overlap) }

// renewalRounding returns how much shorter than the overlap a renewal may be: package
// rotation renews once a second at most, or four times in a short overlap.
func renewalRounding(overlap float64) float64 { return min(1, overlap/4) }

// The simulation draws each renewal of an overlap. Only if there may be manyRenewals, it skips
// the time in which denseRequests are expected within the overlap. Then the chance that none
// of them renews it is e⁻³⁰.
const (
	manyRenewals  = 200
	denseRequests = 30
)

// slidingEnd returns from when the receiver refuses the old token if the overlap slides. gap is the
// overlap without renewalRounding. Until dense the old token is used all the time. lastUse
// draws the last use of the old token between two times.
func (v *receiver) slidingEnd(overlap, maxOverlap, gap, dense float64, lastUse func(from, to float64) (at float64, ok bool)) float64 {
	if overlap <= 0 {
		return v.promoted
	}
	limit := v.promoted + max(overlap, maxOverlap)
	from, end := v.begins, v.begins+overlap
	if limit-end >= manyRenewals*gap && dense > end {
		from, end = dense-gap, dense
	}
	for end < limit {
		at, ok := lastUse(from, end)
		if !ok || at+gap <= end {
			return end
		}
		from, end = end, at+gap
	}
	return limit
}

// requests are those that senders send to one receiver: a Poisson process whose rate grows
// as one sender after the other starts. For the old token, whose senders stop one after the
// other, time runs backwards: its times are negative.
type requests struct {
	starts []float64 // ascending
	sums   []float64 // sums[i] is the sum of starts[:i]
	rate   float64   // requests a second from each sender
}

func newRequests(starts []float64, rate float64) *requests {
	slices.Sort(starts)
	q := &requests{starts: starts, sums: make([]float64, len(starts)+1), rate: rate}
	for i, at := range starts {
		q.sums[i+1] = q.sums[i] + at
	}
	return q
}

// before returns the sum of the times for which senders have sent before t. Multiplied by
// the rate, it is the expected number of requests.
func (q *requests) before(t float64) float64 {
	n, _ := slices.BinarySearch(q.starts, t)
	return t*float64(n) - q.sums[n]
}

// next draws the first request after t.
func (q *requests) next(r *rand.Rand, t float64) float64 {
	sent := max(0, q.before(t)) + r.ExpFloat64()/q.rate
	n := sort.Search(len(q.starts), func(i int) bool { return q.starts[i]*float64(i)-q.sums[i] > sent })
	return max(t, (sent+q.sums[n])/float64(n))
}

// lastOldUse draws the last request with the old token between two times.
func (t *trial) lastOldUse(from, to float64) (float64, bool) {
	at := -t.oldToken.next(t.r, -to)
	return at, at > from
}

// denseUntil returns until when at least denseRequests arrive at a receiver with the old
// token within gap, on average.
func (t *trial) denseUntil(gap float64) float64 {
	senders := math.Ceil(denseRequests / (t.oldToken.rate * gap))
	if senders > float64(len(t.oldToken.starts)) {
		return math.Inf(-1)
	}
	return -t.oldToken.starts[int(senders)-1]
}
