package model

import (
	"slices"
	"time"
)

// shrink simplifies the conditions c of p for as long as the same kind of violation
// occurs. It returns the last world and its violation, which is nil if the world of c
// has none.
func (p protocol) shrink(c conditions, b bounds) (*world, *violation) {
	try := func(c conditions) (*world, *violation) {
		w := p.world(c, b)
		v, _, _ := w.run()
		return w, v
	}
	w, v := try(c)
	if v == nil {
		return w, nil
	}
	for {
		smaller := false
		for next := range p.simpler(c, v) {
			if w2, v2 := try(next); v2 != nil && v2.kind == v.kind {
				c, w, v, smaller = next, w2, v2, true
				break
			}
		}
		if !smaller {
			return w, v
		}
	}
}

// simpler yields conditions that are one step simpler than c, the large steps first.
func (p protocol) simpler(c conditions, v *violation) func(func(conditions) bool) {
	return func(yield func(conditions) bool) {
		only := func(of [][]time.Duration, i int) [][]time.Duration {
			if i < 0 {
				return nil
			}
			return of[i : i+1]
		}
		if len(c.delays) > 1 || len(c.changes) > 1 {
			n := c
			n.delays, n.drift, n.restarts = only(c.delays, v.receiver), c.drift[v.receiver:v.receiver+1], c.restarts[v.receiver:v.receiver+1]
			n.changes = only(c.changes, v.sender)
			if !yield(n) {
				return
			}
		}
		each := (len(p.versions(c.rotations, c.clock)) - 1) / c.rotations
		for k := range c.rotations {
			if c.rotations == 1 {
				break
			}
			n := c
			n.rotations--
			n.clock = without(c.clock, k, 1)
			n.delays, n.changes = nil, nil
			for _, d := range c.delays {
				n.delays = append(n.delays, without(d, k*each, each))
			}
			for _, d := range c.changes {
				n.changes = append(n.changes, without(d, k, 1))
			}
			if !yield(n) {
				return
			}
		}
		for r := range c.restarts {
			for i := range c.restarts[r] {
				n := c
				n.restarts = slices.Clone(c.restarts)
				n.restarts[r] = without(c.restarts[r], i, 1)
				if !yield(n) {
					return
				}
			}
		}
		// Then it reduces each delay to zero, or to whole ticks.
		for _, table := range []func(*conditions) *[][]time.Duration{
			func(c *conditions) *[][]time.Duration { return &c.delays },
			func(c *conditions) *[][]time.Duration { return &c.changes },
			func(c *conditions) *[][]time.Duration { x := [][]time.Duration{c.clock, c.drift}; return &x },
		} {
			for i, row := range *table(&c) {
				for j, d := range row {
					for _, less := range []time.Duration{0, d.Truncate(tick)} {
						if less == d {
							continue
						}
						n := c
						n.delays, n.changes, n.clock, n.drift = deep(c.delays), deep(c.changes), slices.Clone(c.clock), slices.Clone(c.drift)
						(*table(&n))[i][j] = less
						if !yield(n) {
							return
						}
					}
				}
			}
		}
	}
}

func without[E any](s []E, i, n int) []E { return slices.Delete(slices.Clone(s), i, i+n) }

func deep(s [][]time.Duration) [][]time.Duration {
	out := slices.Clone(s)
	for i := range out {
		out[i] = slices.Clone(out[i])
	}
	return out
}
