package plan

import (
	"context"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"slices"
	"time"
)

// A refusal is what a rotation refuses, or the mean of several. With the times at which
// receivers and senders change, the expected number of refused requests has a closed
// form, and the probability of any is 1 - exp(-number).
type refusal struct {
	Any         float64 `json:"chance"` // of any refusal in a rotation
	New         float64 `json:"chance_new_token"`
	Old         float64 `json:"chance_old_token"`
	NewRequests float64 `json:"refused_new_token"` // mean number of requests in a rotation
	OldRequests float64 `json:"refused_old_token"`
	requests    float64 // of all, from the change until everything has changed
}

// add adds a part of o.
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
	oldToken  *requests // time runs backwards
	lastUse   float64   // of the old token
	wait      float64   // the shortest stage wait that refuses nothing
	overlap   float64   // the shortest overlap that refuses nothing; a sliding one without renewals
}

// rotate draws the rotation of a number, with a stage wait.
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
	slowest := math.Inf(-1) // staging, from when it was written
	for i := range t.receivers {
		v := &t.receivers[i]
		v.begins = operator - clock() - rounding
		v.staged, v.promoted = read()
		slowest = max(slowest, v.staged+waited)
	}
	first, last := make([]float64, m.Senders+m.Newcomers), make([]float64, m.Senders)
	// When the first sender changes over: from the change on without the delay of exec, and
	// from the staging on with it.
	undelayed, delayed := math.Inf(1), math.Inf(1)
	for i := range last {
		knows, change := -waited, 0.0 // the delay of exec begins when it knows
		if m.readsSource() {
			knows, change = read()
			knows = min(knows, change)
		}
		restart := m.restart.draw(r)
		undelayed = min(undelayed, change+restart)
		delayed = min(delayed, knows+waited+m.RestartDelay+restart)
		first[i] = max(change, knows+m.RestartDelay) + restart
		last[i] = -(first[i] + m.InFlight*r.Float64())
	}
	if m.Newcomers > 0 {
		undelayed, delayed = 0, 0
	}
	if m.Protocol == staged && slowest > delayed {
		t.wait = max(0, slowest-undelayed+operator-stager)
	}
	rate := m.RequestRate / float64(m.Receivers)
	t.newToken, t.oldToken = newRequests(first, rate), newRequests(last, rate)
	t.lastUse = -last[0]
	for i := range t.receivers {
		v := &t.receivers[i]
		switch {
		case m.Sliding:
			v.begins = t.newToken.next(r, v.promoted)
		case m.Protocol == replace:
			v.begins = v.promoted
		}
		if v.promoted < t.lastUse { // otherwise the old token is current until then
			t.overlap = max(t.overlap, t.lastUse-v.begins)
		}
	}
	return t
}

// instant is how much two sums of the same durations may differ, in seconds.
const instant = 1e-6

// refuse returns what the rotation refuses with an overlap.
func (t *trial) refuse(overlap, maxOverlap float64) refusal {
	var f refusal
	changed := t.lastUse
	for i := range t.receivers {
		v := &t.receivers[i]
		end := v.end(overlap)
		if t.Sliding {
			end = v.slidingEnd(overlap, maxOverlap, overlap-renewalRounding(overlap), t.lastOld, t.unbroken)
		}
		if end < t.lastUse-instant {
			f.OldRequests += t.oldToken.before(-end)
		}
		if knows := v.knows(); knows > t.newToken.starts[0]+instant {
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

// A simulation is what many rotations show.
type simulation struct {
	Rotations   int    `json:"rotations"`
	Seed        uint64 `json:"seed"`
	StageWait   spread `json:"needed_stage_wait_seconds"` // by each rotation
	Overlap     spread `json:"needed_overlap_seconds"`
	Propagation shape  `json:"propagation_seconds"` // to each receiver
	LastUse     shape  `json:"last_use_seconds"`    // by each sender
}

// simulate simulates n rotations and returns for each of the times, which have one stage
// wait, what is refused on average. If it takes long, it reports its progress.
func (m *model) simulate(ctx context.Context, all []times, n int, seed uint64, progress io.Writer) (simulation, []refusal, error) {
	wait := float64(all[0].StageWait)
	shown := wait
	if !m.bounded() { // the last bar begins where one in a thousand is
		shown = 0
	}
	reach, lastUse := newHistogram(m.path.longest(1e-3)), newHistogram(m.lastUse(1e-3, shown))
	refused := make([]refusal, len(all))
	var waits, overlaps []float64
	reported := time.Now()
	for i := range n {
		if err := ctx.Err(); err != nil {
			return simulation{}, nil, fmt.Errorf("plan: ended after %d of %d rotations: %w", i, n, err)
		}
		if time.Since(reported) >= 2*time.Second {
			reported = time.Now()
			fmt.Fprintf(progress, "tokenagent: simulated %d of %d rotations\n", i, n)
		}
		t := m.rotate(seed, uint64(i), wait)
		for j, s := range all {
			refused[j].add(t.refuse(float64(s.Overlap), float64(s.MaxOverlap)), 1)
		}
		waits, overlaps = append(waits, t.wait), append(overlaps, t.overlap)
		for _, v := range t.receivers {
			reach.add(v.promoted)
		}
		for _, start := range t.oldToken.starts {
			lastUse.add(-start)
		}
	}
	for i, sum := range refused {
		refused[i] = refusal{}
		refused[i].add(sum, 1/float64(n))
	}
	return simulation{n, seed, spreadOf(quantiles(waits)), spreadOf(quantiles(overlaps)), reach.shape(), lastUse.shape()}, refused, nil
}

// rotationsFor returns how many rotations take some seconds: at least 10, since those of
// many receivers differ little, and at most 1000.
func (m *model) rotationsFor(all []times) int {
	const budget = 20_000_000 // receivers and senders drawn
	cost := float64(m.Receivers + m.Senders + m.Newcomers)
	if m.Sliding {
		cost *= 4 // draws requests too
		for _, s := range all {
			if overlap := float64(s.Overlap); overlap > 0 {
				cost += float64(m.Receivers) * min(manyRenewals, float64(s.MaxOverlap)/(overlap-renewalRounding(overlap)))
			}
		}
	}
	return max(10, min(1000, int(budget/cost)))
}

const (
	fineBins = 1200 // counted
	bins     = 12   // shown
)

// A histogram counts durations from 0 to top, in seconds; a longer one counts as the
// longest.
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
	h.counts[max(0, min(int(seconds/h.top*fineBins), fineBins-1))]++
	h.n++
	h.least, h.most = min(h.least, seconds), max(h.most, seconds)
}

// quantile returns what a part q of all does not exceed, to within a 1200th of top.
func (h *histogram) quantile(q float64) float64 {
	want, sum := q*float64(h.n), 0.0
	for i, c := range h.counts[:fineBins-1] {
		if sum+float64(c) >= want && c > 0 {
			return min(h.most, max(h.least, h.top*(float64(i)+(want-sum)/float64(c))/fineBins))
		}
		sum += float64(c)
	}
	return h.most
}

// A bin is the part of all durations that are at least From and less than To. The last
// bin has the longer ones too.
type bin struct {
	From  float64 `json:"from_seconds"`
	To    float64 `json:"to_seconds"`
	Share float64 `json:"share"`
}

// A spread is quantiles.
type spread struct {
	Half seconds `json:"p50"`
	P95  seconds `json:"p95"`
	P99  seconds `json:"p99"`
	Most seconds `json:"max"`
}

// A shape is a spread and its bins.
type shape struct {
	spread
	Bins []bin `json:"bins"`
}

func (h *histogram) shape() shape {
	s := shape{spread: spreadOf(h.quantile)}
	for i := range bins {
		var sum uint64
		for _, c := range h.counts[i*fineBins/bins : (i+1)*fineBins/bins] {
			sum += c
		}
		s.Bins = append(s.Bins, bin{h.top * float64(i) / bins, h.top * float64(i+1) / bins, float64(sum) / float64(h.n)})
	}
	return s
}

func spreadOf(quantile func(q float64) float64) spread {
	at := func(q float64) seconds { return seconds(quantile(q)) }
	return spread{at(0.5), at(0.95), at(0.99), at(1)}
}

// quantiles sorts all, and returns what gives the quantiles.
func quantiles(all []float64) func(q float64) float64 {
	slices.Sort(all)
	return func(q float64) float64 { return all[min(int(q*float64(len(all))), len(all)-1)] }
}
