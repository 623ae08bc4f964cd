package model

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// A tape holds the choices that made a history, so that the next one can be made
// from the start with one of them changed. 0 is always the plainest choice.
type tape struct {
	taken, of []int
	at        int
}

// pick returns a choice of n.
func (t *tape) pick(n int) int {
	if t.at == len(t.taken) {
		t.taken, t.of = append(t.taken, 0), append(t.of, n)
	}
	if t.of[t.at] != n {
		panic("model: a history made from the same choices came out otherwise")
	}
	t.at++
	return t.taken[t.at-1]
}

// next turns to the next history in order, and reports whether there is one.
func (t *tape) next() bool {
	t.at = 0
	for i := len(t.taken) - 1; i >= 0; i-- {
		if t.taken[i]++; t.taken[i] < t.of[i] {
			t.taken, t.of = t.taken[:i+1], t.of[:i+1]
			return true
		}
	}
	return false
}

// weight is how far from plain the history is.
func (t *tape) weight() int {
	sum := 0
	for _, n := range t.taken {
		sum += n
	}
	return sum
}

// delay returns one of 0, 1 tick, and so on to most.
func (t *tape) delay(most time.Duration) time.Duration {
	return tick * time.Duration(t.pick(int(most/tick)+1))
}

// off returns by how much a clock is ahead: not at all, or as far as it can be.
func (t *tape) off(most time.Duration) time.Duration {
	if most == 0 {
		return 0
	}
	return []time.Duration{0, -most, most}[t.pick(3)]
}

// several makes n values of count each that are interchangeable, so that only
// one order of each choice comes up.
func (t *tape) several(n, count int) []int {
	out := make([]int, n)
	least := 0
	for i := range out {
		least += t.pick(count - least)
		out[i] = least
	}
	return out
}

// delays makes a delay for each of so many things out of the number n, which is
// less than (most/tick+1) to the power of many.
func delays(n, many int, most time.Duration) []time.Duration {
	out := make([]time.Duration, many)
	for i := range out {
		base := int(most/tick) + 1
		out[i] = tick * time.Duration(n%base)
		n /= base
	}
	return out
}

func power(base, n int) int {
	out := 1
	for range n {
		out *= base
	}
	return out
}

// found is what an exploration came upon.
type found struct {
	histories, bad, checks int
	least                  *counterexample // nil for none
}

type counterexample struct {
	world     *world
	violation *violation
}

// explore runs every history that history can make of a tape, in one bubble.
func explore(t *testing.T, history func(*tape) *world) found {
	t.Helper()
	var f found
	synctest.Test(t, func(t *testing.T) {
		for tape := new(tape); ; {
			w := history(tape)
			v, checks, err := w.run()
			if err != nil {
				t.Fatal(err)
			}
			f.histories++
			f.checks += checks
			if v != nil {
				f.bad++
				// Of those that are equally plain the first is kept.
				if f.least == nil || w.weight < f.least.world.weight {
					f.least = &counterexample{w, v}
				}
			}
			if !tape.next() {
				return
			}
		}
	})
	return f
}

// holds fails the test unless the exploration had exactly so many histories and
// found nothing.
func (f found) holds(t *testing.T, histories int) {
	t.Helper()
	t.Logf("%d histories, %d answers looked at", f.histories, f.checks)
	if f.histories != histories {
		t.Errorf("%d histories explored, want %d: the model has become smaller or larger", f.histories, histories)
	}
	if f.checks < 20*f.histories {
		t.Errorf("%d answers looked at in %d histories: hardly any", f.checks, f.histories)
	}
	if f.least != nil {
		t.Errorf("%d of the histories go wrong; the plainest:\n%s", f.bad, f.least.world.timeline(f.least.violation))
	}
}

// A setting says which conditions to explore, and within which bounds.
type setting struct {
	bounds
	rotations          int
	receivers, senders int
	restarts           []restart // those to choose from, apart from none; at is set by us
	restartAt          []time.Duration
}

// conditions picks those of p on the tape.
func (s setting) conditions(t *tape, p protocol) conditions {
	c := conditions{rotations: s.rotations}
	for range s.rotations {
		clock := time.Duration(0)
		if p.declared {
			clock = t.off(s.skew)
		}
		c.clock = append(c.clock, clock)
	}
	many := len(p.versions(s.rotations, c.clock)) - 1
	for _, n := range t.several(s.receivers, power(int(s.propagation/tick)+1, many)) {
		c.delays = append(c.delays, delays(n, many, s.propagation))
		c.drift = append(c.drift, t.off(s.drift))
		var restarts []restart
		if len(s.restarts) > 0 {
			if n := t.pick(1 + len(s.restarts)*len(s.restartAt)); n > 0 {
				n--
				r := s.restarts[n%len(s.restarts)]
				r.at = s.restartAt[n/len(s.restarts)]
				restarts = []restart{r}
			}
		}
		c.restarts = append(c.restarts, restarts)
	}
	for _, n := range t.several(s.senders, power(int(s.change/tick)+1, s.rotations)) {
		c.changes = append(c.changes, slices.Clone(delays(n, s.rotations, s.change)))
	}
	return c
}

// explore explores p in the setting s.
func (s setting) explore(t *testing.T, p protocol) found {
	t.Helper()
	return explore(t, func(tape *tape) *world { return p.world(s.conditions(tape, p), s.bounds) })
}
