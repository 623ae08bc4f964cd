package plan

import "math/rand/v2"

// What a kubelet adds to the sync period, in seconds.
const (
	// kubeletSpread is how much later than the period a pod's resync may come, as
	// a part of the period: the kubelet draws it anew for each from 0 to 0.5 (its
	// workerResyncIntervalJitterFactor), so that pods do not resync in step.
	kubeletSpread = 0.5
	// kubeletTick is how often the kubelet looks which pods are due.
	kubeletTick = 1
	// kubeletWork is what writing the volume takes at most. A sync that is forced
	// by an annotation was readable after about 0.15 s.
	kubeletWork = 0.3
)

// pollSpread is the jitter of the agent's poll interval, either way.
const pollSpread = 0.1

// A propagation is how what an operator writes comes to a process that reads it
// through a mount or a file: delivered, then mounted, then read. Times are in
// seconds. It is immutable and safe for concurrent use.
//
//	delivery + cache TTL + first resync after it + work  + first poll + debounce
//	           └────────── with a kubelet ────────────┘   └─ without events ─┘
type propagation struct {
	delivery dist    // until what was written stands where the kubelet or the agent looks
	sync     float64 // the kubelet's syncFrequency; 0 means that there is no kubelet
	ttl      float64 // of the kubelet's cache of Secrets; 0 with the strategies Watch and Get
	poll     float64 // the agent's poll interval; 0 means that it sees file system events
	debounce float64 // what the agent adds before it believes what it polled, or what was written in place
}

// most returns the longest that it can take, and where the delivery has no
// limit, what is exceeded with a chance of q at most: a write just after the
// cache was filled, a resync just before the cache was refreshed, the longest
// period with the latest tick, and a poll just before the swap.
func (p *propagation) most(q float64) float64 {
	most := p.delivery.limit(q)
	if p.sync > 0 {
		most += p.ttl + p.longestPeriod() + kubeletWork
	}
	return most + p.poll*(1+pollSpread) + p.debounce
}

// least returns the shortest that it can take.
func (p *propagation) least() float64 { return p.delivery.least() + p.debounce }

func (p *propagation) longestPeriod() float64 { return p.sync*(1+kubeletSpread) + kubeletTick }

// period draws the time from one resync of a pod to the next.
func (p *propagation) period(r *rand.Rand) float64 {
	return p.sync*(1+kubeletSpread*r.Float64()) + kubeletTick*r.Float64()
}

// residual draws the time from a moment that knows nothing of the pod to its
// next resync: a uniform part of a period, long periods being met the more often
// the longer they are.
func (p *propagation) residual(r *rand.Rand) float64 {
	for longest := p.longestPeriod(); ; {
		if x := p.period(r); r.Float64()*longest <= x {
			return x * r.Float64()
		}
	}
}

// agent draws the time from the swap until the agent has published it.
func (p *propagation) agent(r *rand.Rand) float64 {
	if p.poll <= 0 {
		return p.debounce
	}
	const longest = 1 + pollSpread
	for {
		if x := 1 + pollSpread*(2*r.Float64()-1); r.Float64()*longest <= x {
			return p.poll*x*r.Float64() + p.debounce
		}
	}
}

// draw returns when something that is written at time 0 is published.
func (p *propagation) draw(r *rand.Rand) float64 {
	at := p.delivery.draw(r)
	if p.sync > 0 {
		at += p.ttl*r.Float64() + p.residual(r) + kubeletWork*r.Float64()
	}
	return at + p.agent(r)
}

// drawTwo returns when one receiver publishes what is staged at -wait, and what
// is promoted at 0. The two share the pod's resyncs: where both stand before the
// same one, the kubelet coalesces them, and only the second is ever seen.
func (p *propagation) drawTwo(r *rand.Rand, wait float64) (stage, promote float64) {
	stage, promote = p.delivery.draw(r)-wait, p.delivery.draw(r)
	if p.sync > 0 {
		stage += p.ttl * r.Float64()
		promote += p.ttl * r.Float64()
		first, second := &stage, &promote
		if *second < *first { // delivered or cached out of order
			first, second = second, first
		}
		if *second-*first > 8*p.longestPeriod() {
			*first += p.residual(r)
			*second += p.residual(r) // so much later that the one tells nothing of the other
		} else {
			next := *first + p.residual(r)
			*first = next
			for next < *second {
				next += p.period(r)
			}
			*second = next
		}
		stage += kubeletWork * r.Float64()
		promote += kubeletWork * r.Float64()
	}
	return stage + p.agent(r), promote + p.agent(r)
}
