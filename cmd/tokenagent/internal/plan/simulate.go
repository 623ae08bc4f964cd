package plan

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
)

// A refusal is what a rotation refuses, or the mean of several rotations. For given times at
// which receivers and senders change, the expected number of refused requests has a closed
// form; the chance of any is 1 - exp(-number).
type refusal struct {
	Any         float64 `json:"chance"` // of any refused request in a rotation
	New         float64 `json:"chance_new_token"`
	Old         float64 `json:"chance_old_token"`
	NewRequests float64 `json:"refused_new_token"` // mean number of requests in a rotation
	OldRequests float64 `json:"refused_old_token"`
	requests    float64 // sent from the change until everything has changed
}

// add adds the fraction part of o.
func (f *refusal) add(o refusal, part float64) {
	f.Any += o.Any * part
	f.New += o.New * part
	f.Old += o.Old * part
	f.NewRequests += o.NewRequests * part
	f.OldRequests += o.OldRequests * part
	f.requests += o.requests * part
}

// A trial is one simulated rotation.
type trial struct {
	*model
	r         *rand.Rand
	receivers []receiver
	newToken  *requests
	oldToken  *requests // with negative times
	lastUse   float64   // of the old token
	wait      float64   // the shortest stage wait that refuses nothing
	overlap   float64   // the shortest overlap that refuses nothing, without renewals
}

// rotate draws one rotation with a stage wait. A seed and a number give the same rotation.
func (m *model) rotate(seed, number uint64, wait float64) *trial {
	r := rand.New(rand.NewPCG(seed, number)) //nolint:gosec // a simulation, which the seed must repeat
	clock := func() float64 { return m.ClockSkew * (r.Float64() - 0.5) }
	stager, operator := clock(), clock()
	rounding := deadlineRounding * r.Float64()
	t := &trial{model: m, r: r, receivers: make([]receiver, m.Receivers)}
	waited := max(0, wait+stager-operator)
	read := func() (stage, change float64) {
		if m.Protocol == staged {
			return m.drawTwo(r, waited)
		}
		return math.Inf(1), m.draw(r)
	}
	slowest := math.Inf(-1) // receiver, from the staging until it knows the new token
	for i := range t.receivers {
		v := &t.receivers[i]
		v.begins = operator - clock() - rounding
		v.staged, v.promoted = read()
		slowest = max(slowest, v.staged+waited)
	}
	firstNew, lastOld := make([]float64, m.Senders+m.Newcomers), make([]float64, m.Senders)
	// When the first sender sends the new token: undelayed is from the change, without the
	// delay of exec; delayed is from the staging, with it.
	undelayed, delayed := math.Inf(1), math.Inf(1)
	for i := range lastOld {
		knows, change := -waited, 0.0 // knows is when the delay of exec begins
		if m.readsSource() {
			knows, change = read()
			knows = min(knows, change)
		}
		restart := m.restart.draw(r)
		undelayed = min(undelayed, change+restart)
		delayed = min(delayed, knows+waited+m.RestartDelay+restart)
		firstNew[i] = max(change, knows+m.RestartDelay) + restart
		lastOld[i] = -(firstNew[i] + m.InFlight*r.Float64())
	}
	if m.Newcomers > 0 {
		undelayed, delayed = 0, 0
	}
	if m.Protocol == staged && slowest > delayed {
		t.wait = max(0, slowest-undelayed+operator-stager)
	}
	rate := m.RequestRate / float64(m.Receivers)
	t.newToken, t.oldToken = newRequests(firstNew, rate), newRequests(lastOld, rate)
	t.lastUse = -lastOld[0]
	for i := range t.receivers {
		v := &t.receivers[i]
		switch {
		case m.Sliding:
			v.begins = t.newToken.next(r, v.promoted)
		case m.Protocol == replace:
			v.begins = v.promoted
		}
		if v.promoted < t.lastUse { // otherwise it accepts the old token as current
			t.overlap = max(t.overlap, t.lastUse-v.begins)
		}
	}
	return t
}

// roundingError is how much two sums of the same durations may differ, in seconds.
const roundingError = 1e-6

// refuse returns what the rotation refuses with an overlap.
func (t *trial) refuse(overlap, maxOverlap float64) refusal {
	var f refusal
	changed := t.lastUse // when everything has changed
	gap := overlap - renewalRounding(overlap)
	dense := t.denseUntil(gap)
	for i := range t.receivers {
		v := &t.receivers[i]
		end := v.end(overlap)
		if t.Sliding {
			end = v.slidingEnd(overlap, maxOverlap, gap, dense, t.lastOldUse)
		}
		if end < t.lastUse-roundingError {
			f.OldRequests += t.oldToken.before(-end)
		}
		if knows := v.knows(); knows > t.newToken.starts[0]+roundingError {
			f.NewRequests += t.newToken.before(knows)
			changed = max(changed, knows)
		}
	}
	f.OldRequests *= t.oldToken.rate
	f.NewRequests *= t.newToken.rate
	f.requests = t.RequestRate * float64(t.Senders+t.Newcomers) * changed
	f.Old = -math.Expm1(-f.OldRequests)
	f.New = -math.Expm1(-f.NewRequests)
	f.Any = -math.Expm1(-f.OldRequests - f.NewRequests)
	return f
}

// A simulation is the result of many rotations.
type simulation struct {
	Rotations   int    `json:"rotations"`
	Seed        uint64 `json:"seed"`
	StageWait   spread `json:"needed_stage_wait_seconds"` // of each rotation
	Overlap     spread `json:"needed_overlap_seconds"`
	Propagation spread `json:"propagation_seconds"` // to each receiver
	LastUse     spread `json:"last_use_seconds"`    // of each sender
}

// simulate simulates n rotations. It returns what they refuse on average with each of the
// times, which all have the same stage wait.
func (m *model) simulate(ctx context.Context, all []times, n int, seed uint64) (simulation, []refusal, error) {
	wait := float64(all[0].StageWait)
	propagation, lastUse := newHistogram(m.path.longest(1e-3)), newHistogram(m.lastUse(1e-3, wait))
	refused := make([]refusal, len(all))
	var waits, overlaps []float64
	for i := range n {
		if err := ctx.Err(); err != nil {
			return simulation{}, nil, fmt.Errorf("plan: ended after %d of %d rotations: %w", i, n, err)
		}
		t := m.rotate(seed, uint64(i), wait)
		for j, s := range all {
			refused[j].add(t.refuse(float64(s.Overlap), float64(s.MaxOverlap)), 1)
		}
		waits, overlaps = append(waits, t.wait), append(overlaps, t.overlap)
		for _, v := range t.receivers {
			propagation.add(v.promoted)
		}
		for _, start := range t.oldToken.starts {
			lastUse.add(-start)
		}
	}
	for i, sum := range refused {
		refused[i] = refusal{}
		refused[i].add(sum, 1/float64(n))
	}
	return simulation{n, seed, spreadOf(quantiles(waits)), spreadOf(quantiles(overlaps)), spreadOf(propagation.quantile), spreadOf(lastUse.quantile)}, refused, nil
}

// rotationsFor returns how many rotations take some seconds: from 10, since rotations with
// many receivers differ little, to 1000.
func (m *model) rotationsFor(all []times) int {
	const budget = 20_000_000
	cost := float64(m.Receivers + m.Senders + m.Newcomers)
	if m.Sliding {
		cost *= 4 // requests are drawn too
		for _, s := range all {
			if overlap := float64(s.Overlap); overlap > 0 {
				cost += float64(m.Receivers) * min(manyRenewals, float64(s.MaxOverlap)/(overlap-renewalRounding(overlap)))
			}
		}
	}
	return max(10, min(1000, int(budget/cost)))
}

const bins = 1200

// A histogram counts durations, in seconds. One that is longer than top is counted in the
// last bin.
type histogram struct {
	top    float64
	counts [bins]uint64
	n      uint64
	least  float64
	most   float64
}

func newHistogram(top float64) *histogram {
	return &histogram{top: max(top, 1e-3), least: math.Inf(1), most: math.Inf(-1)}
}

func (h *histogram) add(seconds float64) {
	h.counts[max(0, min(int(seconds/h.top*bins), bins-1))]++
	h.n++
	h.least, h.most = min(h.least, seconds), max(h.most, seconds)
}

// quantile returns the quantile q, to within a bin.
func (h *histogram) quantile(q float64) float64 {
	want, sum := q*float64(h.n), 0.0
	for i, c := range h.counts[:bins-1] {
		if sum+float64(c) >= want && c > 0 {
			return min(h.most, max(h.least, h.top*(float64(i)+(want-sum)/float64(c))/bins))
		}
		sum += float64(c)
	}
	return h.most
}

// A spread has the quantiles of some durations.
type spread struct {
	Median seconds `json:"p50"`
	P95    seconds `json:"p95"`
	P99    seconds `json:"p99"`
	Max    seconds `json:"max"`
}

func spreadOf(quantile func(q float64) float64) spread {
	at := func(q float64) seconds { return seconds(quantile(q)) }
	return spread{at(0.5), at(0.95), at(0.99), at(1)}
}

// quantiles sorts all, and returns a function that returns their quantiles.
func quantiles(all []float64) func(q float64) float64 {
	slices.Sort(all)
	return func(q float64) float64 { return all[min(int(q*float64(len(all))), len(all)-1)] }
}
