package model

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// A tape records the choices that made a history. Changing one of them makes the
// next history. 0 is always the simplest choice.
type tape struct {
	taken, of []int // each choice, and the number of options that it had
	at        int   // the next choice
}

// pick returns a choice from 0 to n-1.
func (t *tape) pick(n int) int {
	if t.at == len(t.taken) {
		t.taken, t.of = append(t.taken, 0), append(t.of, n)
	}
	if t.of[t.at] != n {
		panic("model: the same choices led to another history")
	}
	t.at++
	return t.taken[t.at-1]
}

// next moves the tape to the next history, and reports whether there is one.
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

// weight returns how far the history is from the simplest one.
func (t *tape) weight() int {
	sum := 0
	for _, n := range t.taken {
		sum += n
	}
	return sum
}

// delay returns a choice of 0, 1 tick, 2 ticks and so on, at most most.
func (t *tape) delay(most time.Duration) time.Duration {
	return tick * time.Duration(t.pick(int(most/tick)+1))
}

// off returns by how much a clock is ahead: 0, -most or most.
func (t *tape) off(most time.Duration) time.Duration {
	if most == 0 {
		return 0
	}
	return []time.Duration{0, -most, most}[t.pick(3)]
}

// several returns n values from 0 to count-1. The order of the values does not
// matter, so it returns each combination in one order only.
func (t *tape) several(n, count int) []int {
	out := make([]int, n)
	least := 0
	for i := range out {
		least += t.pick(count - least)
		out[i] = least
	}
	return out
}

// delays returns many delays, each at most most. It decodes them from the number n,
// which is less than (most/tick+1) to the power of many.
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

// found is the result of an exploration.
type found struct {
	histories, bad, checks int
	least                  *counterexample // the simplest; nil if no history goes wrong
}

type counterexample struct {
	world     *world
	violation *violation
}

// explore runs every history that history can make, in one synctest bubble.
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
				// Of equally simple histories, the first is kept.
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

// holds fails the test unless the exploration had exactly this many histories and
// none went wrong.
func (f found) holds(t *testing.T, histories int) {
	t.Helper()
	t.Logf("%d histories, %d answers checked", f.histories, f.checks)
	if f.histories != histories {
		t.Errorf("%d histories explored, want %d: the model has changed its size", f.histories, histories)
	}
	if f.checks < 20*f.histories {
		t.Errorf("%d answers checked in %d histories, want at least 20 a history", f.checks, f.histories)
	}
	if f.least != nil {
		t.Errorf("%d histories go wrong; the simplest is\n%s", f.bad, f.least.world.timeline(f.least.violation))
	}
}

// A setting says which conditions to explore.
type setting struct {
	bounds
	rotations          int
	receivers, senders int
	restarts           []restart // the ways to restart; a receiver may also not restart
	restartAt          []time.Duration
}

// conditions returns the conditions of p that the tape chooses.
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

// explore runs every history of p in the setting s.
func (s setting) explore(t *testing.T, p protocol) found {
	t.Helper()
	return explore(t, func(tape *tape) *world { return p.world(s.conditions(tape, p), s.bounds) })
}
