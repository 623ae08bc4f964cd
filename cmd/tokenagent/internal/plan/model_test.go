package plan

import (
	"math"
	"testing"
)

// models returns models of rotations whose limits differ. Each is small enough for many
// rotations, and comes near its limits often.
func models(t *testing.T) map[string]model {
	t.Helper()
	base := model{Protocol: staged, Receivers: 300, Senders: 300, Newcomers: 1, Sender: restarted, InFlight: 5, ClockSkew: 2, RequestRate: 1}
	with := func(change func(m *model)) model {
		m := base
		m.path = path{delivery: fixed(0), KubeletSync: 60, PollInterval: 10, Debounce: 1}
		m.restart = dists(t, "uniform:1m..4m")
		change(&m)
		return m
	}
	return map[string]model{
		"staged":               with(func(m *model) {}),
		"staged, cache":        with(func(m *model) { m.CacheTTL = 60 }),
		"staged, file":         with(func(m *model) { m.KubeletSync = 0 }),
		"staged, delivered":    with(func(m *model) { m.delivery = dists(t, "uniform:30s..5m") }),
		"staged, no newcomers": with(func(m *model) { m.Newcomers = 0 }),
		"staged, fixed":        with(func(m *model) { m.Newcomers, m.restart = 0, dists(t, "fixed:2m") }),
		"staged, exec":         with(func(m *model) { m.Sender, m.RestartDelay, m.restart = underExec, 15, dists(t, "uniform:0s..10s") }),
		"staged, exec, long":   with(func(m *model) { m.Sender, m.RestartDelay, m.restart = underExec, 200, dists(t, "uniform:0s..10s") }),
		"staged, exec, alone": with(func(m *model) {
			m.Newcomers, m.Sender, m.RestartDelay, m.restart = 0, underExec, 20, dists(t, "fixed:0s")
		}),
		"staged, exec, enough": with(func(m *model) {
			m.Newcomers, m.Sender, m.RestartDelay, m.restart = 0, underExec, 120, dists(t, "fixed:0s")
		}),
		"staged, transport": with(func(m *model) { m.Sender, m.restart = transport, fixed(0) }),
		"now":               with(func(m *model) { m.Protocol = now }),
		"now, late senders": with(func(m *model) { m.Protocol, m.Newcomers, m.restart = now, 0, dists(t, "uniform:110s..4m") }),
		"now, exec":         with(func(m *model) { m.Protocol, m.Newcomers, m.Sender, m.RestartDelay = now, 0, underExec, 120 }),
		"replace":           with(func(m *model) { m.Protocol = replace }),
		"replace, late":     with(func(m *model) { m.Protocol, m.Newcomers, m.PollInterval, m.Debounce = replace, 0, 0, 0 }),
		"replace, exec":     with(func(m *model) { m.Protocol, m.Newcomers, m.Sender, m.RestartDelay = replace, 0, underExec, 120 }),
		"sliding":           with(func(m *model) { m.Protocol, m.Sliding, m.RequestRate = replace, true, 10 }),
		"sliding, late":     with(func(m *model) { m.Protocol, m.Sliding, m.Newcomers, m.RequestRate = replace, true, 0, 10 }),
	}
}

// A result is a simulation, and what it refuses with several times.
type result struct {
	simulation
	refused []refusal
}

// rotate simulates n rotations.
func rotate(t *testing.T, m *model, n int, seed uint64, all ...times) result {
	t.Helper()
	sim, refused, err := m.simulate(t.Context(), all, n, seed)
	if err != nil {
		t.Fatal(err)
	}
	return result{sim, refused}
}

// No simulated rotation needs longer times than the limits, and with the limits none refuses
// anything. Some need nearly as long: the limits are no longer than they must be.
func TestLimitsHoldAndAreTight(t *testing.T) {
	t.Parallel()
	for name, m := range models(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := m.limits(0, -1)
			var wait, overlap seconds
			for seed := range uint64(20) {
				res := rotate(t, &m, 10, seed, l.times)
				wait, overlap = max(wait, res.StageWait.Max), max(overlap, res.Overlap.Max)
				if res.Propagation.Max > l.Propagation || res.LastUse.Max > l.LastUse {
					t.Fatalf("seed %d: receivers know by %g, senders changed by %g; limits %+v", seed, res.Propagation.Max, res.LastUse.Max, l)
				}
				if f := res.refused[0]; f.OldRequests > 0 || (f.NewRequests > 0) != l.unstaged {
					t.Fatalf("seed %d: %+v refused, though the limits %+v were kept", seed, f, l)
				}
			}
			if wait > l.StageWait || overlap > l.Overlap {
				t.Errorf("a rotation needed a stage wait of %g and an overlap of %g; limits %+v", wait, overlap, l)
			}
			if wait < 0.88*l.StageWait || overlap < 0.88*l.Overlap {
				t.Errorf("no rotation needed more than a stage wait of %g and an overlap of %g; limits %+v", wait, overlap, l)
			}
		})
	}
}

// With an overlap, a cap or a stage wait that is shorter than rotations needed, some requests
// are refused.
func TestShorterTimesRefuse(t *testing.T) {
	t.Parallel()
	for name, m := range models(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := m.limits(0, -1)
			all := rotate(t, &m, 20, 1, l.times)
			short := l.times
			short.Overlap = all.Overlap.Max - 4
			if m.Sliding {
				short.Overlap = 1 // with many renewals one does not need much
			}
			f := rotate(t, &m, 20, 1, short).refused[0]
			if f.OldRequests <= 0 || f.Old <= 0 {
				t.Errorf("overlap %g: nothing refused, %+v", short.Overlap, f)
			}
			if f.Old > 1 || f.Any < f.Old {
				t.Errorf("overlap %g: wrong chances, %+v", short.Overlap, f)
			}
			if m.Sliding {
				short = l.times
				short.Overlap /= 2
				short.MaxOverlap = l.MaxOverlap - 60
				if f := rotate(t, &m, 20, 1, short).refused[0]; f.OldRequests <= 0 {
					t.Errorf("cap %g: nothing refused, %+v", short.MaxOverlap, f)
				}
			}
			if m.Protocol != staged || l.StageWait == 0 {
				return
			}
			early := l.times
			early.StageWait = all.StageWait.Max - 20
			if f := rotate(t, &m, 20, 1, early).refused[0]; f.NewRequests <= 0 || f.New <= 0 || f.New > 1 {
				t.Errorf("stage wait %g: nothing refused, %+v", early.StageWait, f)
			}
		})
	}
}

// A longer overlap never refuses more. An overlap that slides draws its requests anew, so it
// may refuse a little more by chance.
func TestRefusalIsMonotoneInTheOverlap(t *testing.T) {
	t.Parallel()
	for name, m := range models(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := m.limits(0, -1)
			var settings []times
			for i := range 13 {
				s := l.times
				s.Overlap = (l.Overlap + 1) * seconds(i) / 12
				s.MaxOverlap = max(s.MaxOverlap, s.Overlap)
				settings = append(settings, s)
			}
			res := rotate(t, &m, 12, 2, settings...)
			before := res.refused[0]
			if before.OldRequests == 0 {
				t.Fatal("without an overlap nothing is refused")
			}
			for i, f := range res.refused {
				noise := 0.0
				if m.Sliding {
					noise = 0.01*res.refused[0].OldRequests + 0.01
				}
				if f.OldRequests > before.OldRequests+noise || f.Any > before.Any+noise {
					t.Fatalf("overlap %g refuses %+v, the shorter one before it %+v", settings[i].Overlap, f, before)
				}
				before = f
			}
		})
	}
}

// Without an upper limit there is no limit. The times for a risk keep the risk, and are not
// much longer than needed.
func TestRiskWhereNothingIsSafe(t *testing.T) {
	t.Parallel()
	for _, restarts := range []string{"exponential:2m", "normal:2m,30s"} {
		for name, m := range models(t) {
			if m.Sender == transport || m.Sliding {
				continue
			}
			m.restart = dists(t, restarts)
			l := m.limits(0, -1)
			none := seconds(math.Inf(1))
			equal(t, name+", "+restarts, map[string][2]any{
				"bounded": {m.bounded(), false}, "the overlap's limit": {l.Overlap, none}, "the last use": {l.LastUse, none},
				"no limit of the propagation": {l.Propagation == none, false}, "no limit of the stage wait": {l.StageWait == none, false},
			})
			const risk, n = 0.1, 800
			m.Receivers, m.Senders = 20, 20
			at := m.limits(risk, -1)
			if at.Overlap <= m.limits(2*risk, -1).Overlap {
				t.Errorf("%s: a larger risk gains nothing", name)
			}
			res := rotate(t, &m, n, 3, at.times)
			over := 0
			for i := range uint64(n) {
				if need := m.rotate(3, i, float64(at.StageWait)).overlap; need > float64(at.Overlap) {
					over++
				}
			}
			// The union bound gives senders half of the risk. What is limited counts
			// in full, and is rarely used up: in flight 5 s, and all the way to exec.
			if over > risk*n || over < 3 && m.Sender == restarted {
				t.Errorf("%s, %s: %d of %d rotations need more than the overlap for a risk of %g", name, restarts, over, n, risk)
			}
			if f := res.refused[0]; f.Old > risk || f.Old == 0 && m.Sender == restarted {
				t.Errorf("%s, %s: the chance is %g, the risk %g", name, restarts, f.Old, risk)
			}
		}
	}
	m := models(t)["staged"]
	m.delivery = dists(t, "exponential:1m")
	if l := m.limits(0, -1); !math.IsInf(float64(l.StageWait), 1) || math.IsInf(float64(l.Overlap), 1) {
		t.Errorf("with a delivery without limit: %+v", l)
	}
	const risk, n = 0.1, 800
	m.Receivers, m.Senders = 20, 20
	at := m.limits(risk, -1)
	over := 0
	for i := range uint64(n) {
		if need := m.rotate(3, i, float64(at.StageWait)).wait; need > float64(at.StageWait) {
			over++
		}
	}
	if over > risk*n || over == 0 {
		t.Errorf("%d of %d rotations need more than the stage wait for a risk of %g", over, n, risk)
	}
}

func TestRoundUp(t *testing.T) {
	for in, want := range map[seconds]seconds{0: 0, 0.1: 5, 5: 5, 104.3: 105, 600: 600, 600.1: 660, 607: 660, 14400: 14400, 14401: 15000} {
		if got := roundUp(in); got != want {
			t.Errorf("roundUp(%g) = %g, want %g", in, got, want)
		}
	}
}

// A rotation refuses nothing with the times that it says it needs, and something with
// shorter ones.
func TestNeedIsWhatDecides(t *testing.T) {
	t.Parallel()
	for name, m := range models(t) {
		if m.Sliding {
			continue // needs the more the fewer renewals there happen to be
		}
		m.Receivers, m.Senders = 30, 30
		l := m.limits(0, -1)
		refused, old := 0, 0
		for number := range uint64(400) {
			s := l.times
			s.StageWait *= 0.2 + 0.8*seconds(number)/400
			s.Overlap *= 0.5 + 0.5*seconds(number)/400
			got := m.rotate(1, number, float64(s.StageWait))
			f := got.refuse(float64(s.Overlap), float64(s.MaxOverlap))
			if (f.OldRequests > 0) != (got.overlap > float64(s.Overlap)) {
				t.Fatalf("%s: overlap %g of the needed %g: %+v", name, s.Overlap, got.overlap, f)
			}
			if f.OldRequests > 0 {
				old++
			}
			if m.Protocol != staged || l.StageWait == 0 {
				continue
			}
			// Without newcomers, the promotion may come before the senders.
			if f.NewRequests > 0 && got.wait <= float64(s.StageWait) || m.Newcomers > 0 && f.NewRequests == 0 && got.wait > float64(s.StageWait) {
				t.Fatalf("%s: stage wait %g of the needed %g: %+v", name, s.StageWait, got.wait, f)
			}
			if f.NewRequests > 0 {
				refused++
			}
		}
		if old < 20 || old == 400 || m.Protocol == staged && l.StageWait > 0 && (refused < 20 || refused == 400) {
			t.Errorf("%s: of 400 rotations %d refuse the old token, %d the new one: there is not enough of either", name, old, refused)
		}
	}
}
