package plan

import "math/rand/v2"

const (
	syncJitter = 0.5 // maximum part of a sync period that the kubelet adds (workerResyncIntervalJitterFactor)
	syncTick   = 1   // seconds between two looks of the kubelet for pods that are due
	syncWork   = 0.3 // maximum seconds to write the volume; 0.15 s was measured
	pollJitter = 0.1 // maximum part of a poll interval that the agent adds or subtracts
)

// A path describes how a change reaches a process that reads a mounted Secret or a file. The
// change takes, in seconds, the sum of
//
//   - the delivery,
//   - with a kubelet, up to CacheTTL, the time to the next sync of the pod, and up to syncWork,
//   - without file system events, the time to the next poll,
//   - and Debounce.
type path struct {
	delivery     dist    // until the kubelet or the agent can see the change
	Delivery     string  `json:"delivery"`
	KubeletSync  float64 `json:"kubelet_sync_seconds"`  // the kubelet's syncFrequency; 0 without a kubelet
	CacheTTL     float64 `json:"cache_ttl_seconds"`     // of the kubelet's cache of Secrets
	PollInterval float64 `json:"poll_interval_seconds"` // 0 if the agent sees file system events
	Debounce     float64 `json:"debounce_seconds"`
}

// longest returns the longest time that a change takes. If there is no upper limit, it
// returns the time that a change exceeds with probability q.
func (p *path) longest(q float64) float64 {
	longest := p.delivery.longest(q)
	if p.KubeletSync > 0 {
		longest += p.CacheTTL + p.longestPeriod() + syncWork
	}
	return longest + p.PollInterval*(1+pollJitter) + p.Debounce
}

func (p *path) shortest() float64 { return p.delivery.shortest + p.Debounce }

func (p *path) longestPeriod() float64 { return p.KubeletSync*(1+syncJitter) + syncTick }

// period draws the time from one sync of a pod to the next.
func (p *path) period(r *rand.Rand) float64 {
	return p.KubeletSync*(1+syncJitter*r.Float64()) + syncTick*r.Float64()
}

// nextSync draws the time from a random moment to the pod's next sync.
func (p *path) nextSync(r *rand.Rand) float64 {
	return intervalAround(r, p.longestPeriod(), func() float64 { return p.period(r) }) * r.Float64()
}

// read draws the time from when the agent can see a change until it publishes it.
func (p *path) read(r *rand.Rand) float64 {
	if p.PollInterval <= 0 {
		return p.Debounce
	}
	interval := intervalAround(r, 1+pollJitter, func() float64 { return 1 + pollJitter*(2*r.Float64()-1) })
	return p.PollInterval*interval*r.Float64() + p.Debounce
}

// intervalAround draws the interval that contains a random moment. A long interval contains it more
// often than a short one.
func intervalAround(r *rand.Rand, longest float64, draw func() float64) float64 {
	for {
		if x := draw(); r.Float64()*longest <= x {
			return x
		}
	}
}

// draw returns when a change that is written at time 0 is published.
func (p *path) draw(r *rand.Rand) float64 {
	at := p.delivery.draw(r)
	if p.KubeletSync > 0 {
		at += p.CacheTTL*r.Float64() + p.nextSync(r) + syncWork*r.Float64()
	}
	return at + p.read(r)
}

// drawTwo returns when one process publishes a token that is staged at -wait, and its
// promotion at 0. One sync of the pod can bring both.
func (p *path) drawTwo(r *rand.Rand, wait float64) (stage, promote float64) {
	stage, promote = p.delivery.draw(r)-wait, p.delivery.draw(r)
	if p.KubeletSync > 0 {
		stage += p.CacheTTL * r.Float64()
		promote += p.CacheTTL * r.Float64()
		first, second := &stage, &promote
		if *second < *first {
			first, second = second, first
		}
		far := *second-*first > 8*p.longestPeriod()
		*first += p.nextSync(r)
		if far { // so many syncs later, the time of the first one tells nothing
			*second += p.nextSync(r)
		} else {
			sync := *first
			for sync < *second {
				sync += p.period(r)
			}
			*second = sync
		}
		stage += syncWork * r.Float64()
		promote += syncWork * r.Float64()
	}
	return stage + p.read(r), promote + p.read(r)
}
