package plan

import (
	"math"
	"math/rand/v2"
	"slices"
)

// A setting is what the operator chose, in seconds.
type setting struct {
	wait       float64 // between stage and promote
	overlap    float64
	maxOverlap float64 // with a sliding window
}

// instant is what two sums of the same durations may differ by, in seconds: they
// are not added up in the same order.
const instant = 1e-6

// A refusal is what is refused in one simulated rotation, or the mean of many.
// The requests are a Poisson process, so that given the times at which receivers
// and senders change they need not be drawn: their expected number has a closed
// form, and the chance that there is any is 1 - exp(-number).
type refusal struct {
	chance     float64 // of any refusal
	newChance  float64 // of a refused new token: the stage wait is too short
	oldChance  float64 // of a refused old token: the overlap is too short
	newRefused float64 // expected number of requests
	oldRefused float64
	requests   float64 // sent from the change until all have changed over
}

func (f *refusal) add(o refusal, part float64) {
	f.chance += o.chance * part
	f.newChance += o.newChance * part
	f.oldChance += o.oldChance * part
	f.newRefused += o.newRefused * part
	f.oldRefused += o.oldRefused * part
	f.requests += o.requests * part
}

// A trial is one simulated rotation.
type trial struct {
	refused []refusal // for each overlap that was asked for
	wait    float64   // the shortest stage wait with which no new token is refused, all draws being the same
	overlap float64   // the shortest overlap with which no old token is; with a sliding window, without renewals
	lastUse float64   // until the old token was last used
}

// A worker runs trials one after the other in the same memory. It is not safe
// for concurrent use.
type worker struct {
	m         *model
	receivers []receiver
	first     []float64 // when a sender changes over, ascending after gather
	last      []float64 // when it last uses the old token, likewise
	sums      []float64 // sums[i] is that of last[i:]
	firstSums []float64 // firstSums[i] is that of first[:i]
	old       stream    // of requests with the old token; for a sliding window
	reach     *histogram
	lastUse   *histogram
}

func newWorker(m *model, reach, lastUse *histogram) *worker {
	return &worker{
		m:         m,
		receivers: make([]receiver, m.receivers),
		first:     make([]float64, m.senders+m.newcomers),
		last:      make([]float64, m.senders),
		sums:      make([]float64, m.senders+1),
		firstSums: make([]float64, m.senders+m.newcomers+1),
		reach:     reach,
		lastUse:   lastUse,
	}
}

// run simulates one rotation, which seed and number name: with the same wait,
// what is drawn is the same for all overlaps.
func (w *worker) run(seed, number uint64, wait float64, settings []setting) trial {
	r := rand.New(rand.NewPCG(seed, number)) //nolint:gosec // a simulation: no secret, and the seed must tell all
	m := w.m
	// Any two clocks differ by the skew at most.
	clock := func() float64 { return m.skew * (r.Float64() - 0.5) }
	stager, operator := clock(), clock()
	grain := deadlineGrain * r.Float64()
	// The operator waits by two machines' clocks.
	waited := max(0, wait+stager-operator)

	var t trial
	slowest := math.Inf(-1) // staging, counted from when it was written
	for i := range w.receivers {
		v := &w.receivers[i]
		*v = receiver{ahead: clock() - operator}
		v.staged, v.promoted = w.reached(r, waited)
		slowest = max(slowest, v.staged+waited)
		w.reach.add(v.promoted)
	}
	undelayed, delayed := w.changeOver(r, waited)
	t.lastUse = w.last[m.senders-1]
	if m.protocol == staged && slowest > delayed {
		t.wait = max(0, slowest-undelayed+operator-stager)
	}
	if m.sliding {
		share := m.rate / float64(m.receivers)
		w.old = newStream(w.last, share, false)
		fresh := newStream(w.first, share, true)
		for i := range w.receivers {
			w.receivers[i].firstNew = fresh.next(r, w.receivers[i].promoted)
		}
	}
	t.overlap = w.overlapNeeded(t.lastUse, grain)
	for _, s := range settings {
		t.refused = append(t.refused, w.refusals(r, s, t, grain))
	}
	return t
}

// reached draws when one process publishes the staging, if there is one, and the
// change.
func (w *worker) reached(r *rand.Rand, waited float64) (stage, change float64) {
	if w.m.protocol == staged {
		return w.m.reach.drawTwo(r, waited)
	}
	return math.Inf(1), w.m.reach.draw(r)
}

// changeOver draws when senders change over. It returns when the first of them
// would, exec having no delay, and how long after the staging one could, whatever
// the wait.
func (w *worker) changeOver(r *rand.Rand, waited float64) (undelayed, delayed float64) {
	m := w.m
	undelayed, delayed = math.Inf(1), math.Inf(1)
	for i := range w.last {
		knows, change := -waited, 0.0 // the delay of exec counts from knows
		if m.readsSource() {
			knows, change = w.reached(r, waited)
			knows = min(knows, change)
		}
		restart := m.restart.draw(r)
		undelayed = min(undelayed, change+restart)
		delayed = min(delayed, knows+waited+m.delay+restart)
		w.first[i] = max(change, knows+m.delay) + restart
		w.last[i] = w.first[i] + m.inFlight*r.Float64()
		w.lastUse.add(w.last[i])
	}
	if m.newcomers > 0 {
		clear(w.first[m.senders:])
		undelayed, delayed = 0, 0
	}
	w.gather()
	return undelayed, delayed
}

// gather sorts, and sums up what refusals need.
func (w *worker) gather() {
	slices.Sort(w.first)
	slices.Sort(w.last)
	for i, at := range w.first {
		w.firstSums[i+1] = w.firstSums[i] + at
	}
	for i := len(w.last) - 1; i >= 0; i-- {
		w.sums[i] = w.sums[i+1] + w.last[i]
	}
}

// overlapNeeded returns the shortest overlap with which every receiver accepts
// the old token until lastUse.
func (w *worker) overlapNeeded(lastUse, grain float64) float64 {
	need := 0.0
	for i := range w.receivers {
		v := &w.receivers[i]
		switch {
		case v.promoted >= lastUse: // does not know better until then
		case w.m.protocol != replace:
			need = max(need, lastUse+v.ahead+grain)
		case w.m.sliding:
			need = max(need, lastUse-v.firstNew)
		default:
			need = max(need, lastUse-v.promoted)
		}
	}
	return need
}

// refusals returns what is refused with the setting s.
func (w *worker) refusals(r *rand.Rand, s setting, t trial, grain float64) refusal {
	m := w.m
	share := m.rate / float64(m.receivers)
	draw := func(from, to float64) (float64, bool) { return w.old.lastBefore(r, from, to) }
	lasts := func(from, limit, gap float64) (float64, bool) { return w.old.lasts(r, from, limit, gap) }
	var f refusal
	settled := t.lastUse
	for i := range w.receivers {
		v := &w.receivers[i]
		var end float64
		switch {
		case m.protocol != replace:
			end = v.declaredEnd(s.overlap - grain)
		case m.sliding:
			end = v.slidingEnd(s.overlap, s.maxOverlap, renewalGrain(s.overlap), draw, lasts)
		default:
			end = v.rememberedEnd(s.overlap)
		}
		if end < t.lastUse-instant {
			k := above(w.last, end)
			f.oldRefused += w.sums[k] - end*float64(len(w.last)-k)
		}
		if knows := v.knows(); knows > w.first[0]+instant {
			k := above(w.first, knows)
			f.newRefused += knows*float64(k) - w.firstSums[k]
			settled = max(settled, knows)
		}
	}
	f.oldRefused *= share
	f.newRefused *= share
	f.requests = m.rate * float64(len(w.first)) * settled
	f.oldChance = -math.Expm1(-f.oldRefused)
	f.newChance = -math.Expm1(-f.newRefused)
	f.chance = -math.Expm1(-f.oldRefused - f.newRefused)
	return f
}
