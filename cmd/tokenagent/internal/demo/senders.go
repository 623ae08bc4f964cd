package demo

import (
	"context"
	"time"
)

// A sender sends each of its requests to one or two servers.
type sender struct {
	account *account
	targets []target
	token   func() *demoToken // returns the token that the sender uses now
}

// A target is a server, with the tally of its answers.
type target struct {
	call  call
	tally tally
}

// pace is the time between two requests of a sender: short enough for requests during every
// change, and long enough for two cores.
const pace = 6 * time.Millisecond

// senders returns five senders for each protocol. Four of them change to a new token at
// once, in the middle of the overlap, after its end, and before the promotion. The fifth is
// an intruder, whose token is in no Secret. What they send over HTTP also goes to once, the
// servers of an app that reads its token once.
func senders(a *account, s, once *servers) (all []*sender) {
	intruder := &demoToken{text: "an-intruder-who-guesses", mustRefuse: time.Now()}
	for _, token := range []func() *demoToken{
		func() *demoToken { return a.tokenFor(0, false) },
		func() *demoToken { return a.tokenFor(a.overlap/2, false) },
		func() *demoToken { return a.tokenFor(a.overlap*5/4, false) },
		func() *demoToken { return a.tokenFor(0, true) },
		func() *demoToken { return intruder },
	} {
		all = append(all,
			&sender{a, []target{{once.callHTTP, a.once}, {s.callHTTP, a.http}}, token},
			&sender{a, []target{{s.callGRPC, a.grpc}}, token})
	}
	return all
}

func (s *sender) send(ctx context.Context) {
	token := s.token()
	for _, t := range s.targets {
		sent := time.Now()
		got := t.call(ctx, token.text)
		if ctx.Err() != nil && got == noAnswer {
			return // cut off by the end of the demo
		}
		s.account.judge(t.tally, token, sent, time.Now(), got)
	}
}
