package plan

import (
	"math"
	"testing"
)

// models are ways to rotate whose limits differ, each small enough for many
// rotations and with what makes its extremes likely.
func models(t *testing.T) map[string]model {
	t.Helper()
	base := model{protocol: staged, receivers: 300, senders: 300, newcomers: 1, sender: restart, inFlight: 5, skew: 2, rate: 1}
	with := func(change func(m *model)) model {
		m := base
		m.reach = propagation{sync: 60, poll: 10, debounce: 1}
		m.restart = dists(t, "uniform:1m..4m")
		change(&m)
		return m
	}
	return map[string]model{
		"staged":               with(func(m *model) {}),
		"staged, cache":        with(func(m *model) { m.reach.ttl = 60 }),
		"staged, file":         with(func(m *model) { m.reach.sync = 0 }),
		"staged, delivered":    with(func(m *model) { m.reach.delivery = dists(t, "uniform:30s..5m") }),
		"staged, no newcomers": with(func(m *model) { m.newcomers = 0 }),
		"staged, fixed":        with(func(m *model) { m.newcomers, m.restart = 0, dists(t, "fixed:2m") }),
		"staged, exec":         with(func(m *model) { m.sender, m.delay, m.restart = execed, 15, dists(t, "uniform:0s..10s") }),
		"staged, exec, long":   with(func(m *model) { m.sender, m.delay, m.restart = execed, 200, dists(t, "uniform:0s..10s") }),
		"staged, exec, alone":  with(func(m *model) { m.newcomers, m.sender, m.delay, m.restart = 0, execed, 20, dists(t, "fixed:0s") }),
		"staged, exec, enough": with(func(m *model) { m.newcomers, m.sender, m.delay, m.restart = 0, execed, 120, dists(t, "fixed:0s") }),
		"staged, transport":    with(func(m *model) { m.sender, m.restart = transport, dist{} }),
		"now":                  with(func(m *model) { m.protocol = now }),
		"now, late senders":    with(func(m *model) { m.protocol, m.newcomers, m.restart = now, 0, dists(t, "uniform:110s..4m") }),
		"now, exec":            with(func(m *model) { m.protocol, m.newcomers, m.sender, m.delay = now, 0, execed, 120 }),
		"replace":              with(func(m *model) { m.protocol = replace }),
		"replace, late":        with(func(m *model) { m.protocol, m.newcomers, m.reach.poll, m.reach.debounce = replace, 0, 0, 0 }),
		"replace, exec":        with(func(m *model) { m.protocol, m.newcomers, m.sender, m.delay = replace, 0, execed, 120 }),
		"sliding":              with(func(m *model) { m.protocol, m.sliding, m.rate = replace, true, 10 }),
		"sliding, late":        with(func(m *model) { m.protocol, m.sliding, m.newcomers, m.rate = replace, true, 0, 10 }),
	}
}

// run simulates some rotations with one wait and several settings.
func rotate(t *testing.T, m *model, n int, seed uint64, settings ...setting) *result {
	t.Helper()
	res, err := simulate(t.Context(), m, settings, n, seed, func(int) {})
	if err != nil {
		t.Fatal(err)
	}
	return res
}

func (l limits) setting() setting { return setting{l.wait, l.overlap, l.maxOverlap} }

// No rotation needs more than the closed form, over many seeds, and none that
// keeps to it refuses anything. Some come near it: the limits are no larger than
// they must be.
func TestLimitsHoldAndAreTight(t *testing.T) {
	t.Parallel()
	for name, m := range models(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := m.limits(0)
			var wait, overlap float64
			for seed := range uint64(20) {
				res := rotate(t, &m, 10, seed, l.setting())
				wait = max(wait, res.wait[len(res.wait)-1])
				overlap = max(overlap, res.overlap[len(res.overlap)-1])
				if res.reach.most > l.reach || res.lastUses.most > l.lastUse {
					t.Fatalf("seed %d: receivers know by %g, senders changed by %g; limits %+v", seed, res.reach.most, res.lastUses.most, l)
				}
				if f := res.refused[0]; f.oldRefused > 0 || (f.newRefused > 0) != l.unstaged {
					t.Fatalf("seed %d: %+v refused, though the limits %+v were kept", seed, f, l)
				}
			}
			if wait > l.wait || overlap > l.overlap {
				t.Errorf("a rotation needed a stage wait of %g and an overlap of %g; limits %+v", wait, overlap, l)
			}
			if wait < 0.88*l.wait || overlap < 0.88*l.overlap {
				t.Errorf("no rotation needed more than a stage wait of %g and an overlap of %g; limits %+v", wait, overlap, l)
			}
		})
	}
}

// What is shorter than what the simulation needed is refused, each for its own
// reason.
func TestShorterTimesRefuse(t *testing.T) {
	t.Parallel()
	for name, m := range models(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := m.limits(0)
			all := rotate(t, &m, 20, 1, l.setting())
			short := l.setting()
			short.overlap = all.overlap[len(all.overlap)-1] - 4
			if m.sliding {
				short.overlap = 1 // with many renewals one does not need much
			}
			if f := rotate(t, &m, 20, 1, short).refused[0]; f.oldRefused <= 0 || f.oldChance <= 0 || f.oldChance > 1 || f.chance < f.oldChance {
				t.Errorf("overlap %g: nothing refused, %+v", short.overlap, f)
			}
			if m.sliding {
				short = l.setting()
				short.overlap /= 2
				short.maxOverlap = l.maxOverlap - 60
				if f := rotate(t, &m, 20, 1, short).refused[0]; f.oldRefused <= 0 {
					t.Errorf("cap %g: nothing refused, %+v", short.maxOverlap, f)
				}
			}
			if m.protocol != staged || l.wait == 0 {
				return
			}
			early := l.setting()
			early.wait = all.wait[len(all.wait)-1] - 20
			if f := rotate(t, &m, 20, 1, early).refused[0]; f.newRefused <= 0 || f.newChance <= 0 || f.newChance > 1 {
				t.Errorf("stage wait %g: nothing refused, %+v", early.wait, f)
			}
		})
	}
}

// A longer overlap never refuses more: exactly so with the same draws, and with
// a window that slides, whose requests are drawn anew, but for the noise.
func TestRefusalIsMonotoneInTheOverlap(t *testing.T) {
	t.Parallel()
	for name, m := range models(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := m.limits(0)
			var settings []setting
			for i := range 13 {
				s := l.setting()
				s.overlap = (l.overlap + 1) * float64(i) / 12
				s.maxOverlap = max(s.maxOverlap, s.overlap)
				settings = append(settings, s)
			}
			res := rotate(t, &m, 12, 2, settings...)
			before := res.refused[0]
			if before.oldRefused == 0 {
				t.Fatal("without an overlap nothing is refused")
			}
			for i, f := range res.refused {
				noise := 0.0
				if m.sliding {
					noise = 0.01*res.refused[0].oldRefused + 0.01
				}
				if f.oldRefused > before.oldRefused+noise || f.chance > before.chance+noise {
					t.Fatalf("overlap %g refuses %+v, the shorter one before it %+v", settings[i].overlap, f, before)
				}
				before = f
			}
		})
	}
}

// Where there is no limit, none is claimed; and what is given for a risk keeps
// it, and is not far more than needed.
func TestRiskWhereNothingIsSafe(t *testing.T) {
	t.Parallel()
	for _, restarts := range []string{"exponential:2m", "normal:2m,30s"} {
		for name, m := range models(t) {
			if m.sender == transport || m.sliding {
				continue
			}
			m.restart = dists(t, restarts)
			l := m.limits(0)
			if m.bounded() || !math.IsInf(l.overlap, 1) || !math.IsInf(l.lastUse, 1) || math.IsInf(l.reach, 1) || math.IsInf(l.wait, 1) {
				t.Errorf("%s, %s: limits %+v", name, restarts, l)
			}
			const risk, n = 0.1, 800
			m.receivers, m.senders = 20, 20
			at := m.limits(risk)
			if at.overlap <= m.limits(2*risk).overlap {
				t.Errorf("%s: a larger risk gains nothing", name)
			}
			res := rotate(t, &m, n, 3, at.setting())
			over := 0
			for _, need := range res.overlap {
				if need > at.overlap {
					over++
				}
			}
			// The union bound gives senders half of the risk. What is limited counts
			// in full, and is rarely used up: in flight 5 s, and all the way to exec.
			if over > risk*n || over < 3 && m.sender == restart {
				t.Errorf("%s, %s: %d of %d rotations need more than the overlap for a risk of %g", name, restarts, over, n, risk)
			}
			if f := res.refused[0]; f.oldChance > risk || f.oldChance == 0 && m.sender == restart {
				t.Errorf("%s, %s: the chance is %g, the risk %g", name, restarts, f.oldChance, risk)
			}
		}
	}
	m := models(t)["staged"]
	m.reach.delivery = dists(t, "exponential:1m")
	if l := m.limits(0); !math.IsInf(l.wait, 1) || math.IsInf(l.overlap, 1) {
		t.Errorf("with a delivery without limit: %+v", l)
	}
	const risk, n = 0.1, 800
	m.receivers, m.senders = 20, 20
	at := m.limits(risk)
	over := 0
	for _, need := range rotate(t, &m, n, 3, at.setting()).wait {
		if need > at.wait {
			over++
		}
	}
	if over > risk*n || over == 0 {
		t.Errorf("%d of %d rotations need more than the stage wait for a risk of %g", over, n, risk)
	}
}

func TestRoundUp(t *testing.T) {
	for in, want := range map[float64]float64{0: 0, 0.1: 5, 5: 5, 104.3: 105, 600: 600, 600.1: 660, 607: 660, 14400: 14400, 14401: 15000} {
		if got := roundUp(in); got != want {
			t.Errorf("roundUp(%g) = %g, want %g", in, got, want)
		}
	}
}

// In each rotation, what it says to have needed is what refuses nothing: no
// more, no less.
func TestNeedIsWhatDecides(t *testing.T) {
	t.Parallel()
	for name, m := range models(t) {
		if m.sliding {
			continue // needs the more the fewer renewals there happen to be
		}
		m.receivers, m.senders = 30, 30
		l := m.limits(0)
		w := newWorker(&m, newHistogram(1), newHistogram(1))
		refused, old := 0, 0
		for number := range uint64(400) {
			s := l.setting()
			s.wait *= 0.2 + 0.8*float64(number)/400
			s.overlap *= 0.5 + 0.5*float64(number)/400
			got := w.run(1, number, s.wait, []setting{s})
			f := got.refused[0]
			if (f.oldRefused > 0) != (got.overlap > s.overlap) {
				t.Fatalf("%s: overlap %g of the needed %g: %+v", name, s.overlap, got.overlap, f)
			}
			if f.oldRefused > 0 {
				old++
			}
			if m.protocol != staged || l.wait == 0 {
				continue
			}
			// Without newcomers, the promotion may come before the senders.
			if f.newRefused > 0 && got.wait <= s.wait || m.newcomers > 0 && f.newRefused == 0 && got.wait > s.wait {
				t.Fatalf("%s: stage wait %g of the needed %g: %+v", name, s.wait, got.wait, f)
			}
			if f.newRefused > 0 {
				refused++
			}
		}
		if old < 20 || old == 400 || m.protocol == staged && l.wait > 0 && (refused < 20 || refused == 400) {
			t.Errorf("%s: of 400 rotations %d refuse the old token, %d the new one: there is not enough of either", name, old, refused)
		}
	}
}
