package demo

import (
	"context"
	"time"
)

// A sender sends requests with the token that it knows.
type sender struct {
	account  *account
	tally    tally
	call     call
	lag      time.Duration // from a rotation until it sends the new token
	eager    bool          // it sends a token as soon as it is staged
	intruder bool          // it sends a token that is in no Secret
}

// pace is the time between two requests of a sender: short enough for requests during every
// change, and long enough for two cores.
const pace = 6 * time.Millisecond

// senders returns five senders for each protocol. They change over at once, in the middle
// of the overlap, after its end, and before the promotion; the fifth is an intruder.
func senders(a *account, s *servers) (all []*sender) {
	add := func(t tally, c call) {
		all = append(all,
			&sender{account: a, tally: t, call: c},
			&sender{account: a, tally: t, call: c, lag: a.overlap / 2},
			&sender{account: a, tally: t, call: c, lag: a.overlap * 5 / 4},
			&sender{account: a, tally: t, call: c, eager: true},
			&sender{account: a, tally: t, call: c, intruder: true})
	}
	add(a.http, s.callHTTP)
	add(a.grpc, s.callGRPC)
	return all
}

func (s *sender) send(ctx context.Context) {
	n, token := intruder, "an-intruder-who-guesses"
	if !s.intruder {
		n = s.account.tokenFor(s.lag, s.eager)
		token = s.account.text(n)
	}
	sent := time.Now()
	got := s.call(ctx, token)
	if ctx.Err() != nil && got == noAnswer {
		return // cut off by the end of the demo
	}
	s.account.judge(s.tally, n, sent, time.Now(), got)
}
