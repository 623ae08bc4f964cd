package demo

import (
	"crypto/rand"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/tokenagent/tokenagent/pkg/verify"
)

// outcomes returns the outcomes of requests, in the order of the table. The last three are
// errors.
func outcomes() []string {
	return []string{
		"sent", "accepted as current", "accepted as next", "accepted as previous", "rightly refused", "refused during a change",
		"no answer", "wrongly refused", "wrongly accepted",
	}
}

// A tally counts the requests of one protocol by outcome.
type tally map[string]int

// An account knows which token must be accepted when. It learns that from the operator, and
// never from the agent.
type account struct {
	overlap time.Duration

	mu         sync.Mutex
	tokens     []*lifetime
	http, grpc tally
}

// A lifetime says when a token must be accepted and when it must be refused. While a change
// takes effect, either answer is right. A time that is not known yet is zero.
type lifetime struct {
	text       string
	created    time.Time // before this it must be refused
	accepted   time.Time // from here on it must be accepted
	current    time.Time // from here on senders learn of it
	mayRefuse  time.Time // from here on it may be refused
	mustRefuse time.Time // from here on it must be refused
}

// newToken creates a token and returns its number.
func (a *account) newToken() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.tokens = append(a.tokens, &lifetime{text: "demo-" + rand.Text(), created: time.Now()})
	return len(a.tokens) - 1
}

// accept records that token n must be accepted from at on, and whether it is current.
func (a *account) accept(n int, at time.Time, current bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	l := a.tokens[n]
	if l.accepted.IsZero() {
		l.accepted = at
	}
	if current {
		l.current = at
	}
}

// end records from when on token n may be refused, and from when on it must be. A zero time
// changes nothing; of two times the earlier one counts.
func (a *account) end(n int, may, must time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	l := a.tokens[n]
	if l.mayRefuse.IsZero() || !may.IsZero() && may.Before(l.mayRefuse) {
		l.mayRefuse = may
	}
	if l.mustRefuse.IsZero() || !must.IsZero() && must.Before(l.mustRefuse) {
		l.mustRefuse = must
	}
}

func (a *account) text(n int) string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.tokens[n].text
}

func (a *account) fingerprint(n int) string { return verify.Fingerprint(verify.Digest(a.text(n))) }

// tokenFor returns the number of the token that a sender uses. The sender learns of the
// current token after lag. If it is eager, it uses a token as soon as that is staged.
func (a *account) tokenFor(lag time.Duration, eager bool) int {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := time.Now()
	for n := len(a.tokens) - 1; n > 0; n-- {
		l := a.tokens[n]
		if eager && !l.accepted.IsZero() || !l.current.IsZero() && !now.Before(l.current.Add(lag)) {
			return n
		}
	}
	return 0
}

// intruder is the number of a token that is in no Secret.
const intruder = -1

// An answer is the slot of the accepted token, or one of these.
type answer string

const (
	noAnswer answer = "no answer"
	refused  answer = "refused"
)

// judge counts a request with token n that was sent and answered at these times.
func (a *account) judge(t tally, n int, sent, answered time.Time, got answer) {
	a.mu.Lock()
	defer a.mu.Unlock()
	must, mustNot := false, true
	if n != intruder {
		must, mustNot = a.tokens[n].expected(sent, answered)
	}
	t["sent"]++
	switch {
	case got == noAnswer:
		t["no answer"]++
	case got == refused && must:
		t["wrongly refused"]++
	case got == refused && mustNot:
		t["rightly refused"]++
	case got == refused:
		t["refused during a change"]++
	case mustNot:
		t["wrongly accepted"]++
	default:
		t["accepted as "+string(got)]++
	}
}

// expected reports whether a request that was sent and answered at these times must have
// been accepted, and whether it must have been refused.
func (l *lifetime) expected(sent, answered time.Time) (must, mustNot bool) {
	must = !l.accepted.IsZero() && !sent.Before(l.accepted) && (l.mayRefuse.IsZero() || answered.Before(l.mayRefuse))
	mustNot = answered.Before(l.created) || !l.mustRefuse.IsZero() && !sent.Before(l.mustRefuse)
	return must, mustNot
}

// table shows the tallies.
func (a *account) table() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	var b strings.Builder
	fmt.Fprintf(&b, "\n%-24s %10s %10s\n", "", "http", "grpc")
	for _, outcome := range outcomes() {
		fmt.Fprintf(&b, "%-24s %10d %10d\n", outcome, a.http[outcome], a.grpc[outcome])
	}
	return b.String()
}

// good reports whether every request had a right answer.
func (a *account) good() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, outcome := range outcomes()[len(outcomes())-3:] {
		if a.http[outcome]+a.grpc[outcome] > 0 {
			return false
		}
	}
	return true
}
