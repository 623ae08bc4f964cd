package demo

import (
	"context"
	"time"
)

// A sender sends requests, with what it takes for the token.
type sender struct {
	world    *world
	protocol string
	call     call
	lag      time.Duration // how long after a rotation it learns of it
	eager    bool          // it takes a token that is only staged
	intruder bool          // it takes one that is in no Secret
}

// pace is how often a sender sends: often enough to hit every change, and
// little enough for two cores.
const pace = 6 * time.Millisecond

// senders returns the cast: for each protocol one that changes over at once, one
// in the middle of the overlap, one that forgets to until it is over, one that
// is ahead of it, and an intruder.
func senders(w *world, s *servers) (all []*sender) {
	for protocol, c := range map[string]call{"http": s.callHTTP, "grpc": s.callGRPC} {
		all = append(all,
			&sender{world: w, protocol: protocol, call: c},
			&sender{world: w, protocol: protocol, call: c, lag: w.overlap / 2},
			&sender{world: w, protocol: protocol, call: c, lag: w.overlap * 5 / 4},
			&sender{world: w, protocol: protocol, call: c, eager: true},
			&sender{world: w, protocol: protocol, call: c, intruder: true})
	}
	return all
}

func (s *sender) run(ctx context.Context) {
	tick := time.NewTicker(pace)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			s.send(ctx)
		}
	}
}

func (s *sender) send(ctx context.Context) {
	n, token := intruder, "an-intruder-who-guesses"
	if !s.intruder {
		n = s.world.tokenFor(s.lag, s.eager)
		token = s.world.text(n)
	}
	sent := time.Now()
	a, slot := s.call(ctx, token)
	if ctx.Err() != nil && a == unanswered {
		return // cut off by the end of the demo
	}
	s.world.judge(s.protocol, n, sent, time.Now(), a)
	if a == letIn && slot != 0 {
		s.world.slot(s.protocol, slot)
	}
}
