package demo

import (
	"crypto/rand"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/tokenagent/tokenagent/pkg/verify"
)

// rows returns the rows of the table: what became of requests. If the last three are 0,
// all is good.
func rows() []string {
	return []string{
		"sent", "accepted as current", "accepted as next", "accepted as previous", "refused, rightly", "refused amid a change",
		"no answer", "wrongly refused", "wrongly let in",
	}
}

// A tally counts the requests of one protocol by row.
type tally map[string]int

// An account says what must be accepted when. It follows from what the operator did, and
// never from what the agent answers.
type account struct {
	overlap time.Duration

	mu         sync.Mutex
	tokens     []*life
	http, grpc tally
}

// A life is when a token must be accepted, and when it must be refused. In between, while
// a change is on its way, either answer is right.
type life struct {
	text       string
	published  time.Time // it is put into the Secret
	accepted   time.Time // from here on it must be accepted
	current    time.Time // from here on senders learn of it
	mayRefuse  time.Time // from here on it need not be accepted any more
	mustRefuse time.Time // from here on it must be refused
}

// newToken returns the number of a new token, which is about to be put into the Secret.
func (a *account) newToken() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.tokens = append(a.tokens, &life{text: "demo-" + rand.Text(), published: time.Now()})
	return len(a.tokens) - 1
}

// accept notes that token n is accepted from at on, and whether it is the current one.
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

// end notes from when on token n may be refused, and from when on it must be; zero for not
// known yet. The earlier of two times counts.
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

// tokenFor returns what a sender sends that learns of a new current token after lag. An
// eager one takes a token as soon as it is staged.
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

// An answer is the slot of the token that let a request in, or one of these.
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
		must, mustNot = a.tokens[n].at(sent, answered)
	}
	t["sent"]++
	switch {
	case got == noAnswer:
		t["no answer"]++
	case got == refused && must:
		t["wrongly refused"]++
	case got == refused && mustNot:
		t["refused, rightly"]++
	case got == refused:
		t["refused amid a change"]++ // either answer was right
	case mustNot:
		t["wrongly let in"]++
	default:
		t["accepted as "+string(got)]++
	}
}

// at reports whether a request that was sent and answered at these times had to be let in,
// and whether it had to be refused.
func (l *life) at(sent, answered time.Time) (must, mustNot bool) {
	must = !l.accepted.IsZero() && !sent.Before(l.accepted) && (l.mayRefuse.IsZero() || answered.Before(l.mayRefuse))
	mustNot = answered.Before(l.published) || !l.mustRefuse.IsZero() && !sent.Before(l.mustRefuse)
	return must, mustNot
}

// table shows the tallies.
func (a *account) table() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	var b strings.Builder
	fmt.Fprintf(&b, "\n%-24s %10s %10s\n", "", "http", "grpc")
	for _, row := range rows() {
		fmt.Fprintf(&b, "%-24s %10d %10d\n", row, a.http[row], a.grpc[row])
	}
	return b.String()
}

// good reports whether every request was answered, and rightly.
func (a *account) good() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, row := range rows()[len(rows())-3:] {
		if a.http[row]+a.grpc[row] > 0 {
			return false
		}
	}
	return true
}
