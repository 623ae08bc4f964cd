package plan

import (
	"math"
	"math/rand/v2"
	"slices"
	"sort"
)

// A receiver is one receiver of a rotation, in seconds from the change. It accepts
// what a ledger of the package rotation accepts, which would take minutes for
// 100,000 receivers; a test compares the two.
type receiver struct {
	staged   float64 // publishes the staged token; +Inf without staging
	promoted float64 // publishes that the new token is current
	begins   float64 // its overlap: with a declared deadline the operator's time 0, otherwise promoted, or if it slides the first use of the new token
}

// knows returns from when it accepts the new token.
func (v *receiver) knows() float64 { return min(v.staged, v.promoted) }

// end returns from when it refuses the old token, unless the overlap slides.
func (v *receiver) end(overlap float64) float64 { return max(v.promoted, v.begins+overlap) }

// renewalRounding is how much earlier than the use a renewal may count: package
// rotation renews once a second at most, and four times in a short overlap.
func renewalRounding(overlap float64) float64 { return min(1, overlap/4) }

// manyRenewals is how many renewals are followed one by one.
const manyRenewals = 200

// slidingEnd returns from when it refuses the old token if the overlap slides. gap is the
// overlap minus the rounding of a renewal. lastUse draws the last use of the old token
// between two times. unbroken draws until when uses follow each other within gap, if there
// are many; it may be nil.
func (v *receiver) slidingEnd(overlap, maxOverlap, gap float64,
	lastUse func(from, to float64) (at float64, ok bool),
	unbroken func(from, limit, gap float64) (until float64, broken bool),
) float64 {
	if overlap <= 0 {
		return v.promoted
	}
	limit := v.promoted + max(overlap, maxOverlap)
	for from, end := v.begins, v.begins+overlap; end < limit; {
		if unbroken != nil && from > v.begins && limit-end >= manyRenewals*gap {
			until, broken := unbroken(from, limit, gap)
			if broken {
				return max(end, until)
			}
			unbroken = nil // uses are rare from then on
			end = max(end, until)
		}
		at, ok := lastUse(from, end)
		if !ok || at+gap <= end {
			return end
		}
		from, end = end, at+gap
	}
	return limit
}

// requests are those that senders send to one receiver: a Poisson process whose rate
// grows as one sender after the other starts. Time runs backwards for the old token,
// whose senders stop.
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

// senders returns how many have started before t.
func (q *requests) senders(t float64) int {
	n, _ := slices.BinarySearch(q.starts, t)
	return n
}

// before returns for how long senders have sent before t, added up. Times the rate it
// is the expected number of requests.
func (q *requests) before(t float64) float64 {
	n := q.senders(t)
	return t*float64(n) - q.sums[n]
}

// next draws the first request after t.
func (q *requests) next(r *rand.Rand, t float64) float64 {
	sent := max(0, q.before(t)) + r.ExpFloat64()/q.rate
	n := sort.Search(len(q.starts), func(i int) bool { return q.starts[i]*float64(i)-q.sums[i] > sent })
	return max(t, (sent+q.sums[n])/float64(n))
}

// lastOld draws the last request with the old token between two times.
func (t *trial) lastOld(from, to float64) (float64, bool) {
	at := -t.oldToken.next(t.r, -to)
	return at, at > from
}

// unbroken draws until when requests with the old token follow each other within gap,
// between from and limit. broken reports that they then do not; otherwise they are so rare
// that it does not take long until they do not.
//
// The time until a Poisson process of rate λ has a gap of g is almost exponential for a
// large λg, with mean (exp(λg)-1)/λ. From λg = 40 on there is none. A falling rate counts
// as steady until a twentieth of the senders has stopped.
func (t *trial) unbroken(from, limit, gap float64) (until float64, broken bool) {
	q := t.oldToken
	rare, certain := 5/(q.rate*gap), 40/(q.rate*gap) // senders
	for from < limit {
		n := q.senders(-from)
		senders := float64(n)
		if n == 0 || senders < rare {
			return from, false
		}
		left := senders - math.Floor(senders/20)
		if senders > certain {
			left = math.Ceil(certain)
		}
		stop := -q.starts[int(left)-1]
		if senders <= certain {
			rate := (senders + left) / 2 * q.rate
			if -q.starts[n-1] == stop {
				rate = senders * q.rate
			}
			if at := from + t.r.ExpFloat64()*math.Expm1(rate*gap)/rate; at < min(stop, limit) {
				return at, true
			}
		}
		from = stop
	}
	return limit, false
}
