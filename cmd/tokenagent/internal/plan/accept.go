package plan

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

// manyRenewals is from how many on a window's renewals are not looked at one by
// one.
const manyRenewals = 200

// slidingEnd is rememberedEnd for a window that slides. A renewal may count up to
// grain earlier than the use that made it. An overlap of 0 is none, and slides
// nowhere.
//
// lastBefore draws the last use of the old token that reaches the receiver
// between from and to; it is asked once for each stretch of time. lasts draws
// until when uses from then on follow each other within a gap; see stream. It is
// asked where there may be very many of them, and may be nil.
func (v *receiver) slidingEnd(overlap, maxOverlap, grain float64,
	lastBefore func(from, to float64) (at float64, ok bool),
	lasts func(from, limit, gap float64) (until float64, broken bool),
) float64 {
	if overlap <= 0 {
		return v.promoted
	}
	limit := v.promoted + max(overlap, maxOverlap)
	gap := overlap - grain
	// Uses before the window opened, at firstNew, cannot outlast that.
	end := v.firstNew + overlap
	for from := v.firstNew; end < limit; {
		at, ok := lastBefore(from, end)
		if !ok || at+gap <= end {
			return end
		}
		from, end = end, at+gap
		if lasts == nil || limit-end < manyRenewals*gap {
			continue
		}
		to, broken := lasts(from, limit, gap)
		if broken {
			return max(end, to)
		}
		lasts = nil // from there on they are not dense, and never again
		if to <= end {
			continue
		}
		if at, ok = lastBefore(from, to); !ok || at+gap <= to {
			return to
		}
		from, end = to, at+gap
	}
	return limit
}
