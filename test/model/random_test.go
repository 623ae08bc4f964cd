package model

import (
	"flag"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tokenagent/tokenagent/internal/rotation"
)

var seeds = flag.Uint64("seeds", 1, "`number` of large random worlds of each protocol")

// A size is the size of a random world.
type size struct{ receivers, senders, rotations int }

// fleet returns the bounds of a cluster: a mounted Secret changes within 90 s, and
// senders restart within minutes.
func fleet() bounds {
	return bounds{
		propagation: 90 * second, change: 10 * time.Minute, flight: 30 * second,
		skew: 5 * second, drift: 3 * second, down: time.Minute,
	}
}

// conditions returns random conditions within b. A restart is one of ways.
func (s size) conditions(r *rand.Rand, p protocol, b bounds, ways []restart) conditions {
	c := conditions{rotations: s.rotations}
	upTo := func(most time.Duration) time.Duration {
		switch r.IntN(8) {
		case 0:
			return 0
		case 1:
			return most
		default:
			return time.Duration(r.Int64N(int64(most) + 1))
		}
	}
	for range s.rotations {
		c.clock = append(c.clock, upTo(2*b.skew)-b.skew)
	}
	versions := p.versions(s.rotations, c.clock)
	length := versions[len(versions)-1].at + b.propagation
	for range s.receivers {
		var delays []time.Duration
		for range versions[1:] {
			delays = append(delays, upTo(b.propagation))
		}
		var restarts []restart
		for at := time.Duration(0); len(ways) > 0; {
			x := ways[r.IntN(len(ways))]
			at += upTo(length/4) + second
			x.at, x.down = at, upTo(b.down)
			if at += x.down; at > length {
				break
			}
			restarts = append(restarts, x)
		}
		c.delays = append(c.delays, delays)
		// The drift shifts deadlines, which are written in whole seconds.
		c.drift = append(c.drift, (upTo(2*b.drift) - b.drift).Truncate(second))
		c.restarts = append(c.restarts, restarts)
	}
	for range s.senders {
		var changes []time.Duration
		for range s.rotations {
			changes = append(changes, upTo(b.change))
		}
		c.changes = append(c.changes, changes)
	}
	return c
}

// random runs random worlds of p. If one goes wrong, random shrinks it and fails
// the test with its timeline.
func random(t *testing.T, p protocol, b bounds, s size, ways []restart) {
	t.Helper()
	keepsRules(t, p, b, s.rotations)
	if testing.Short() {
		s.receivers /= 4
	}
	synctest.Test(t, func(t *testing.T) {
		for seed := range *seeds {
			c := s.conditions(rand.New(rand.NewPCG(seed, 1)), p, b, ways)
			v, checks, err := p.world(c, b).run()
			if err != nil {
				t.Fatal(err)
			}
			if least := s.receivers * s.rotations * s.senders; checks < least {
				t.Errorf("seed %d: %d answers checked, want at least %d", seed, checks, least)
			}
			if v != nil {
				w, v := p.shrink(c, b)
				t.Fatalf("seed %d goes wrong; the shrunk history is\n%s", seed, w.timeline(v))
			}
		}
	})
}

// A trial is a protocol to run on a fleet, with the ways to restart that the
// protocol allows.
type trial struct {
	protocol protocol
	ways     []restart
	size     size
}

func trials() map[string]trial {
	b := fleet()
	declared, revoking, hurried, window := staged(b), staged(b), staged(b), plain(b, true)
	window.rest = b.down
	revoking.ending = revoke
	hurried.ending, hurried.endWait = leave, 0
	hurried.rest = b.change + b.flight + second
	for _, p := range []*protocol{&declared, &revoking, &hurried} {
		p.window.Overlap = 15 * time.Minute
	}
	return map[string]trial{
		"retired": {declared, slices.Concat(kept, forgotten), size{receivers: 200, senders: 8, rotations: 6}},
		"revoked": {revoking, slices.Concat(kept, forgotten), size{receivers: 50, senders: 40, rotations: 10}},
		"left":    {hurried, slices.Concat(kept, forgotten), size{receivers: 100, senders: 24, rotations: 8}},
		"plain":   {window, kept, size{receivers: 60, senders: 12, rotations: 20}},
	}
}

// TestP2_Fleet runs up to 200 receivers and up to 40 senders through several rotations
// that keep the rules, with restarts and wrong clocks.
func TestP2_Fleet(t *testing.T) {
	t.Parallel()
	for name, x := range trials() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			random(t, x.protocol, fleet(), x.size, x.ways)
		})
	}
}

// TestModelShrinks shrinks a large world that goes wrong to one receiver, one sender
// and one rotation.
func TestModelShrinks(t *testing.T) {
	t.Parallel()
	b := fleet()
	p := staged(b)
	p.overlap = b.change / 2
	p.window = rotation.Window{}
	synctest.Test(t, func(t *testing.T) {
		s := size{receivers: 20, senders: 10, rotations: 5}
		w, v := p.shrink(s.conditions(rand.New(rand.NewPCG(7, 1)), p, b, slices.Concat(kept, forgotten)), b)
		if v == nil || v.kind != refusedSender || len(w.receivers) != 1 || len(w.senders) != 1 || len(w.versions) != 4 || len(w.receivers[0].restarts) != 0 {
			t.Fatalf("the shrunk world is %+v, with violation %v", w, v)
		}
	})
}
