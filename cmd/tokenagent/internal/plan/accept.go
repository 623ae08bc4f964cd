package plan

import "math/rand/v2"

// A receiver is what one receiver does in one rotation, in seconds from the
// change. It is what pkg/rotation.Advance would decide from the same content and
// clocks, in closed form: a ledger for each of 100,000 receivers would cost
// minutes. A test holds the two together.
type receiver struct {
	staged   float64 // publishes what was staged; +Inf without staging
	promoted float64 // publishes that the new token is current
	ahead    float64 // its clock, less the operator's
	firstNew float64 // first accepted use of the new token; for a sliding window
}

// knows returns from when the receiver accepts the new token, as next or as
// current. A staging that arrives after the promotion was never seen.
func (v *receiver) knows() float64 { return min(v.staged, v.promoted) }

// declaredEnd returns from when the receiver refuses the old token, which the
// promotion declared previous until the operator's clock reads until. As long as
// it has not read that, the old token is current for it.
func (v *receiver) declaredEnd(until float64) float64 { return max(v.promoted, until-v.ahead) }

// rememberedEnd is declaredEnd for an old token that the agent remembers by
// itself for overlap.
func (v *receiver) rememberedEnd(overlap float64) float64 { return v.promoted + max(0, overlap) }

// renewalGrain is how much earlier than its use a renewal of the sliding window
// may count: pkg/rotation renews at most once a second, and for short overlaps
// at most four times in one.
func renewalGrain(overlap float64) float64 { return min(1, overlap/4) }

// slidingEnd is rememberedEnd for a window that slides. A renewal may count up to
// grain earlier than the use that made it. lastBefore draws the last use of the
// old token that reaches the receiver between from and to; it is asked once for
// each stretch of time. An overlap of 0 is none, and slides nowhere.
func (v *receiver) slidingEnd(overlap, maxOverlap, grain float64, lastBefore func(from, to float64) (at float64, ok bool)) float64 {
	if overlap <= 0 {
		return v.promoted
	}
	limit := v.promoted + max(overlap, maxOverlap)
	// Uses before the window opened, at firstNew, cannot outlast that.
	end := v.firstNew + overlap
	for from := v.firstNew; end < limit; {
		at, ok := lastBefore(from, end)
		if !ok || at-grain+overlap <= end {
			return end
		}
		from, end = end, at-grain+overlap
	}
	return limit
}

// A stream is the requests with one of the two tokens that reach one receiver:
// a Poisson process whose rate changes when a sender changes over.
type stream struct {
	at    []float64 // ascending: where the rate changes, by share
	total []float64 // expected requests until then
	share float64   // requests a second, of one sender to one receiver
	grows bool      // each change adds a sender, instead of ending one
}

// newStream makes that of the old token from when its senders last use it, or
// with grows that of the new one from when they first do. at is ascending.
func newStream(at []float64, share float64, grows bool) stream {
	s := stream{at: at, total: make([]float64, len(at)), share: share, grows: grows}
	sum, before := 0.0, 0.0
	for i, t := range at {
		sum += float64(s.senders(i)) * share * (t - before)
		s.total[i], before = sum, t
	}
	return s
}

// senders returns how many send just before the change number i.
func (s *stream) senders(i int) int {
	if s.grows {
		return i
	}
	return len(s.at) - i
}

// until returns the expected requests until t.
func (s *stream) until(t float64) float64 {
	i := above(s.at, t)
	if i == 0 {
		return float64(s.senders(0)) * s.share * max(0, t)
	}
	return s.total[i-1] + float64(s.senders(i))*s.share*(t-s.at[i-1])
}

// when returns the first time by which n requests are expected, n being at most
// those that there are.
func (s *stream) when(n float64) float64 {
	i := above(s.total, n)
	rate := float64(s.senders(i)) * s.share
	at, had := 0.0, 0.0
	if i > 0 {
		at, had = s.at[i-1], s.total[i-1]
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

// above returns the index of the first element of ascending that is greater than
// t, or its length.
func above(ascending []float64, t float64) int {
	lo, hi := 0, len(ascending)
	for lo < hi {
		if mid := (lo + hi) / 2; ascending[mid] > t {
			hi = mid
		} else {
			lo = mid + 1
		}
	}
	return lo
}
