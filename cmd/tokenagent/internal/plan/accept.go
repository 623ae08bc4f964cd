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
