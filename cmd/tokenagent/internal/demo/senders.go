package demo

import (
	"context"
	"time"
)

// A sender sends requests of one protocol.
type sender struct {
	account *account
	tally   tally
	call    call
	token   func() *demoToken // returns the token that the sender uses now
}

// pace is the time between two requests of a sender: short enough for requests during every
// change, and long enough for two cores.
const pace = 6 * time.Millisecond

// senders returns five senders for each protocol. Four of them change to a new token at
// once, in the middle of the overlap, after its end, and before the promotion. The fifth is
// an intruder, whose token is in no Secret.
func senders(a *account, s *servers) (all []*sender) {
	intruder := &demoToken{text: "an-intruder-who-guesses", mustRefuse: time.Now()}
	for _, token := range []func() *demoToken{
		func() *demoToken { return a.tokenFor(0, false) },
		func() *demoToken { return a.tokenFor(a.overlap/2, false) },
		func() *demoToken { return a.tokenFor(a.overlap*5/4, false) },
		func() *demoToken { return a.tokenFor(0, true) },
		func() *demoToken { return intruder },
	} {
		all = append(all, &sender{a, a.http, s.callHTTP, token}, &sender{a, a.grpc, s.callGRPC, token})
	}
	return all
}

func (s *sender) send(ctx context.Context) {
	token := s.token()
	sent := time.Now()
	got := s.call(ctx, token.text)
	if ctx.Err() != nil && got == noAnswer {
		return // cut off by the end of the demo
	}
	s.account.judge(s.tally, token, sent, time.Now(), got)
}
