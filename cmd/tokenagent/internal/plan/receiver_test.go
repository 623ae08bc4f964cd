package plan

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/tokenagent/tokenagent/internal/rotation"
)

var (
	change       = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC) // time 0 of the model
	oldID, newID = rotation.ID{1}, rotation.ID{2}
)

// A ledgerReceiver is one receiver of the model with a real ledger. Its methods
// are to be called in the order of time.
type ledgerReceiver struct {
	ledger *rotation.Ledger[int]
	ahead  float64
	window rotation.Window
}

func (l *ledgerReceiver) clock(at float64) time.Time { return change.Add(duration(at + l.ahead)) }

func duration(s float64) time.Duration { return time.Duration(math.Round(s * 1e9)) }

func (l *ledgerReceiver) read(at float64, decls ...rotation.Decl[int]) {
	l.ledger = rotation.Advance(l.ledger, rotation.Content[int]{Decls: decls}, l.clock(at), l.window)
}

// use presents a token at a moment of the model.
func (l *ledgerReceiver) use(id rotation.ID, at float64) bool {
	for i := range l.ledger.Entries {
		if e := &l.ledger.Entries[i]; e.ID == id {
			return e.Accept(l.clock(at))
		}
	}
	return false
}

func decl(id rotation.ID, s rotation.Slot, until time.Time) rotation.Decl[int] {
	return rotation.Decl[int]{ID: id, Slot: s, Until: until}
}

// A receiver of the model decides as internal/rotation does with the same content, clocks and
// uses.
func TestReceiverIsTheLedger(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(3, 4))
	none := time.Time{}
	for n := range 6_000 {
		overlap := math.Floor(r.Float64() * 100)
		v := receiver{staged: r.Float64()*200 - 120, promoted: r.Float64() * 90}
		remembered := n%2 == 0
		l := ledgerReceiver{ahead: r.Float64()*6 - 3, window: rotation.Window{Overlap: 15 * time.Minute}}
		if remembered {
			v.staged = math.Inf(1)
			l.window.Overlap = duration(overlap)
		}
		// Queries at random, and on either side of what the model says.
		rounding := r.Float64()
		until := overlap - rounding
		v.begins = -l.ahead - rounding
		if remembered {
			v.begins = v.promoted
		}
		end := v.end(overlap)
		const eps = 1e-6
		at := []float64{end - eps, end + eps, v.knows() - eps, v.knows() + eps}
		for range 6 {
			at = append(at, r.Float64()*320-120)
		}
		slices.Sort(at)
		l.read(-1000, decl(oldID, rotation.Current, none))
		staged, promoted := false, false
		for _, q := range at {
			if !staged && v.staged < v.promoted && v.staged <= q {
				staged = true
				l.read(v.staged, decl(oldID, rotation.Current, none), decl(newID, rotation.Next, none))
			}
			if !promoted && v.promoted <= q {
				promoted = true
				decls := []rotation.Decl[int]{decl(newID, rotation.Current, none)}
				if !remembered {
					// By the operator's clock, which is change + q in the model.
					decls = append(decls, decl(oldID, rotation.Previous, change.Add(duration(until))))
				}
				l.read(v.promoted, decls...)
			}
			if got, want := l.use(oldID, q), q < end; got != want {
				t.Fatalf("%+v, overlap %g: the ledger accepts the old token at %g: %t, the model until %g", v, overlap, q, got, end)
			}
			if got, want := l.use(newID, q), q >= v.knows(); got != want {
				t.Fatalf("%+v: the ledger accepts the new token at %g: %t, the model from %g", v, q, got, v.knows())
			}
		}
	}
}

// With an overlap that slides, the model never accepts longer than the ledger, since it
// subtracts renewalRounding, and without the rounding never less long. If the rounding makes
// no difference, the two agree.
func TestSlidingReceiverIsTheLedger(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(5, 6))
	slid, exact := 0, 0
	for range 5_000 {
		overlap, limit := 2+r.Float64()*20, r.Float64()*120
		v := receiver{staged: math.Inf(1), promoted: r.Float64() * 30}
		v.begins = v.promoted + r.Float64()*60
		var uses []float64
		gap := 0.1 + r.Float64()*8
		for u := 0.0; u < 200; u += gap * r.ExpFloat64() {
			uses = append(uses, u)
		}
		last := func(from, to float64) (float64, bool) {
			for _, u := range slices.Backward(uses) {
				if u < to {
					return u, u > from
				}
			}
			return 0, false
		}
		short := v.slidingEnd(overlap, limit, overlap-renewalRounding(overlap), math.Inf(-1), last)
		long := v.slidingEnd(overlap, limit, overlap, math.Inf(-1), last)

		l := ledgerReceiver{window: rotation.Window{Overlap: duration(overlap), MaxOverlap: duration(limit)}}
		l.read(-1000, decl(oldID, rotation.Current, time.Time{}))
		promoted, opened := false, false
		refused := math.Inf(1)
		for _, u := range uses {
			if !promoted && v.promoted <= u {
				promoted = true
				l.read(v.promoted, decl(newID, rotation.Current, time.Time{}))
			}
			if promoted && !opened && v.begins <= u {
				opened = true
				if !l.use(newID, v.begins) {
					t.Fatal("the ledger refuses the new token")
				}
			}
			if got := l.use(oldID, u); got != (u < refused) && u < refused {
				refused = u
			}
			if u < short && u >= refused {
				t.Fatalf("%+v, overlap %g to %g: the ledger refuses at %g, the model accepts until %g\nuses %v", v, overlap, limit, u, short, uses)
			}
			if u >= long && u < refused {
				t.Fatalf("%+v, overlap %g to %g: the ledger accepts at %g, the model until %g\nuses %v", v, overlap, limit, u, long, uses)
			}
		}
		if long > v.begins+overlap {
			slid++
		}
		if long == short {
			exact++
		}
	}
	if slid < 500 || exact < 500 {
		t.Errorf("only %d windows slid, only %d ended the same with and without the rounding", slid, exact)
	}
}

// The expected number of refused requests is the mean of many rotations in which each request
// is drawn and judged.
func TestRefusalsAreThoseOfSingleRequests(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		m model
		s times
	}{
		"declared":   {model{Protocol: staged}, times{StageWait: 30, Overlap: 100}},
		"remembered": {model{Protocol: replace}, times{Overlap: 60}},
		"sliding":    {model{Protocol: replace, Sliding: true}, times{Overlap: 20, MaxOverlap: 150}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := c.m
			m.Receivers, m.Senders, m.Newcomers, m.Sender, m.RequestRate, m.ClockSkew, m.InFlight = 5, 7, 1, restarted, 0.3, 4, 5
			m.path = path{delivery: fixed(0), KubeletSync: 40}
			m.restart = dists(t, "uniform:0s..3m")
			var want, got refusal
			const n = 2_000
			for i := range uint64(n) {
				w := m.rotate(9, i, float64(c.s.StageWait))
				got.add(w.refuse(float64(c.s.Overlap), float64(c.s.MaxOverlap)), 1./n)
				want.add(singly(w, i, c.s), 1./n)
			}
			for what, v := range map[string][2]float64{
				"old":        {got.OldRequests, want.OldRequests},
				"new":        {got.NewRequests, want.NewRequests},
				"chance":     {got.Any, want.Any},
				"old chance": {got.Old, want.Old},
			} {
				slack := 0.06
				if m.Sliding && v[0] > v[1] {
					slack = 0.2 // renewalRounding is subtracted
				}
				if math.Abs(v[0]-v[1]) > slack*v[1]+0.01 || v[1] == 0 {
					t.Errorf("%s: %g, with single requests %g", what, v[0], v[1])
				}
			}
		})
	}
}

// singly draws each request of the rotation w, and asks the model of the receiver, or if the
// overlap slides a real ledger.
func singly(w *trial, number uint64, s times) refusal {
	r := rand.New(rand.NewPCG(11, number))
	m := w.model
	type request struct {
		at  float64
		to  int
		old bool
	}
	var all []request
	send := func(from, to float64, old bool) {
		for at := from + r.ExpFloat64()/m.RequestRate; at < to; at += r.ExpFloat64() / m.RequestRate {
			all = append(all, request{at, r.IntN(m.Receivers), old})
		}
	}
	for _, start := range w.oldToken.starts {
		send(0, -start, true)
	}
	for _, first := range w.newToken.starts {
		send(first, 400, false)
	}
	slices.SortFunc(all, func(a, b request) int { return int(math.Copysign(1, a.at-b.at)) })

	ledgers := make([]*ledgerReceiver, m.Receivers)
	ends := make([]float64, m.Receivers)
	for i := range ledgers {
		v := &w.receivers[i]
		ends[i] = v.end(float64(s.Overlap))
		ledgers[i] = &ledgerReceiver{window: rotation.Window{Overlap: duration(float64(s.Overlap)), MaxOverlap: duration(float64(s.MaxOverlap))}}
		ledgers[i].read(-1000, decl(oldID, rotation.Current, time.Time{}))
	}
	var f refusal
	for _, q := range all {
		v, l := &w.receivers[q.to], ledgers[q.to]
		var ok bool
		switch {
		case m.Sliding:
			if len(l.ledger.Currents()) > 0 && l.ledger.Entries[0].ID == oldID && v.promoted <= q.at {
				l.read(v.promoted, decl(newID, rotation.Current, time.Time{}))
			}
			id := newID
			if q.old {
				id = oldID
			}
			ok = l.use(id, q.at)
		case q.old:
			ok = q.at < ends[q.to]
		default:
			ok = q.at >= v.knows()
		}
		switch {
		case ok:
		case q.old:
			f.OldRequests++
			f.Old, f.Any = 1, 1
		default:
			f.NewRequests++
			f.New, f.Any = 1, 1
		}
	}
	return f
}

// If thousands of requests renew an overlap, skipping the time in which they are dense changes
// little.
func TestSkippedRenewals(t *testing.T) {
	t.Parallel()
	const overlap, limit, n = 1, 4_000, 50
	starts := make([]float64, 400) // the senders stop one after the other until 2000
	for i := range starts {
		starts[i] = -2_000 * float64(i+1) / 400
	}
	w := trial{r: rand.New(rand.NewPCG(21, 22)), oldToken: newRequests(starts, 0.2)}
	dense := w.denseUntil(overlap)
	if math.Abs(dense-1_250) > 10 { // 150 senders are left, with 30 requests in the overlap
		t.Fatalf("requests are dense until %g, want about 1250", dense)
	}
	var drawn, skipped float64
	draws := 0
	for range n {
		v := receiver{}
		drawn += v.slidingEnd(overlap, limit, overlap, math.Inf(-1), w.lastOldUse) / n
		skipped += v.slidingEnd(overlap, limit, overlap, dense, func(from, to float64) (float64, bool) {
			draws++
			return w.lastOldUse(from, to)
		}) / n
	}
	if math.Abs(drawn-skipped) > 0.02*drawn {
		t.Errorf("the overlap ends at %g, with skipped renewals at %g", drawn, skipped)
	}
	if draws > n*(2_000-int(dense)+10) {
		t.Errorf("%d draws for %d overlaps: nothing was skipped", draws, n)
	}
	if few := w.denseUntil(0.1); !math.IsInf(few, -1) {
		t.Errorf("8 requests in the overlap are dense until %g", few)
	}
}
