package plan

import (
	"math"
	"math/rand/v2"
)

// A stream is the requests with one of the two tokens that reach one receiver:
// a Poisson process whose rate changes when a sender changes over.
type stream struct {
	at    ascending // where the rate changes, by share
	total ascending // expected requests until then
	share float64   // requests a second, of one sender to one receiver
	grows bool      // each change adds a sender, instead of ending one
}

// newStream makes that of the old token from when its senders last use it, or
// with grows that of the new one from when they first do. at is ascending.
func newStream(at []float64, share float64, grows bool) stream {
	s := stream{at: newAscending(at), share: share, grows: grows}
	total := make([]float64, len(at))
	sum, before := 0.0, 0.0
	for i, t := range at {
		sum += float64(s.senders(i)) * share * (t - before)
		total[i], before = sum, t
	}
	s.total = newAscending(total)
	return s
}

// senders returns how many send just before the change number i.
func (s *stream) senders(i int) int {
	if s.grows {
		return i
	}
	return len(s.at.values) - i
}

// until returns the expected requests until t.
func (s *stream) until(t float64) float64 {
	i := s.at.above(t)
	if i == 0 {
		return float64(s.senders(0)) * s.share * max(0, t)
	}
	return s.total.values[i-1] + float64(s.senders(i))*s.share*(t-s.at.values[i-1])
}

// when returns the first time by which n requests are expected, n being at most
// those that there are.
func (s *stream) when(n float64) float64 {
	i := s.total.above(n)
	rate := float64(s.senders(i)) * s.share
	at, had := 0.0, 0.0
	if i > 0 {
		at, had = s.at.values[i-1], s.total.values[i-1]
	}
	if rate == 0 || n <= had {
		return at
	}
	return at + (n-had)/rate
}

// next draws the first request after t. There always is one, of the new token.
func (s *stream) next(r *rand.Rand, t float64) float64 {
	return max(t, s.when(s.until(t)+r.ExpFloat64()))
}

// lastBefore draws the last request between from and to.
func (s *stream) lastBefore(r *rand.Rand, from, to float64) (float64, bool) {
	n := s.until(to) - r.ExpFloat64()
	if n <= s.until(from) {
		return 0, false
	}
	return min(s.when(n), to), true
}

// Requests that come often enough need not be followed one by one: how many are
// expected in a gap where it is too long to wait for one without any, and where
// there is none in all of maxDuration.
const (
	denseInGap   = 5
	certainInGap = 40
)

// lasts draws until when, from t on and to limit at most, the requests follow
// each other within gap; broken says that then they do not. It ends without that
// where they are no longer dense, and is for the old token, whose requests become
// fewer.
//
// The time until a Poisson process of rate λ first has a gap of g is close to
// exponential where λg is large, with a mean of (exp(λg)-1)/λ. A rate that falls
// is taken for steady until it has fallen by a twentieth, halfway between.
func (s *stream) lasts(r *rand.Rand, t, limit, gap float64) (until float64, broken bool) {
	dense, certain := denseInGap/(s.share*gap), certainInGap/(s.share*gap)
	for t < limit {
		next := s.at.above(t)
		n := float64(s.senders(next))
		if n < dense || n == 0 {
			return t, false
		}
		least := n - math.Floor(n/20)
		if n > certain {
			least = math.Ceil(certain)
		}
		to := s.at.values[len(s.at.values)-int(least)] // from when on there are fewer
		if n <= certain {
			rate := (n + least) / 2 * s.share
			if s.at.values[next] == to {
				rate = n * s.share
			}
			if at := t + r.ExpFloat64()*math.Expm1(rate*gap)/rate; at < min(to, limit) {
				return at, true
			}
		}
		t = to
	}
	return limit, false
}

// An ascending is a sorted slice with an index: where the values are that fall
// into each of as many equal parts of their range. In 100,000 values a binary
// search alone misses the cache at every step.
type ascending struct {
	values []float64
	parts  float64 // a second
	starts []int32
}

func newAscending(values []float64) ascending {
	n := len(values)
	a := ascending{values: values, starts: make([]int32, n+2)}
	if span := values[n-1]; span > 0 {
		a.parts = float64(n) / span
	}
	next := 0
	for i, v := range values {
		for ; next <= a.part(v); next++ {
			a.starts[next] = int32(i)
		}
	}
	for ; next < len(a.starts); next++ {
		a.starts[next] = int32(n)
	}
	return a
}

func (a *ascending) part(v float64) int {
	return max(0, min(int(v*a.parts), len(a.values)))
}

// above returns the index of the first value that is greater than v, or their
// number.
func (a *ascending) above(v float64) int {
	if v >= a.values[len(a.values)-1] {
		return len(a.values)
	}
	p := a.part(v)
	from := int(a.starts[p])
	return from + above(a.values[from:a.starts[p+1]], v)
}

// above returns the index of the first element of sorted that is greater than
// t, or its length.
func above(sorted []float64, t float64) int {
	lo, hi := 0, len(sorted)
	for lo < hi {
		if mid := (lo + hi) / 2; sorted[mid] > t {
			hi = mid
		} else {
			lo = mid + 1
		}
	}
	return lo
}
