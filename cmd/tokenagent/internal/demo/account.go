package demo

import (
	"crypto/rand"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/tokenagent/tokenagent/pkg/verify"
)

// outcomes returns the outcomes of requests, in the order of the table.
func outcomes() (good, bad []string) {
	return []string{"sent", "accepted as current", "accepted as next", "accepted as previous", "rightly refused", "refused during a change"},
		[]string{"no answer", "wrongly refused", "wrongly accepted"}
}

// A tally counts requests by outcome.
type tally map[string]int

// An account records when each token must be accepted. It gets that from the operator, never
// from the agent.
type account struct {
	overlap time.Duration

	mu         sync.Mutex // also for the times of the tokens
	tokens     []*demoToken
	once       tally // the server that reads its token once, over HTTP
	http, grpc tally // the servers behind the agent
}

// A demoToken is a token with the times at which it must be accepted and refused. While a
// change takes effect, either answer is right. A time that is not known yet is zero.
type demoToken struct {
	text       string
	created    time.Time // the token must be refused before
	accepted   time.Time // the token must be accepted from this time
	current    time.Time // senders can read the token from this time
	mayRefuse  time.Time // the token may be refused from this time
	mustRefuse time.Time // the token must be refused from this time
}

func (t *demoToken) fingerprint() string { return verify.Fingerprint(verify.Digest(t.text)) }

func (a *account) newToken() *demoToken {
	a.mu.Lock()
	defer a.mu.Unlock()
	t := &demoToken{text: "demo-" + rand.Text(), created: time.Now()}
	a.tokens = append(a.tokens, t)
	return t
}

// accept records that t must be accepted from now on, and whether it is current.
func (a *account) accept(t *demoToken, current bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := time.Now()
	if t.accepted.IsZero() {
		t.accepted = now
	}
	if current {
		t.current = now
	}
}

// mayRefuse records that t may be refused from at on, or earlier.
func (a *account) mayRefuse(t *demoToken, at time.Time) { a.setEarliest(&t.mayRefuse, at) }

// mustRefuse records that t must be refused from at on, or earlier.
func (a *account) mustRefuse(t *demoToken, at time.Time) { a.setEarliest(&t.mustRefuse, at) }

// setEarliest sets t to at, unless t is earlier already.
func (a *account) setEarliest(t *time.Time, at time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if t.IsZero() || at.Before(*t) {
		*t = at
	}
}

// tokenFor returns the token that a sender uses. The sender reads the current token after
// lag. If eager is true, it uses a token as soon as the token is staged.
func (a *account) tokenFor(lag time.Duration, eager bool) *demoToken {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := time.Now()
	for n := len(a.tokens) - 1; n > 0; n-- {
		t := a.tokens[n]
		if eager && !t.accepted.IsZero() || !t.current.IsZero() && !now.Before(t.current.Add(lag)) {
			return t
		}
	}
	return a.tokens[0]
}

// An answer is the slot of the accepted token, or one of these.
type answer string

const (
	noAnswer answer = "no answer"
	refused  answer = "refused"
)

// judge counts a request with token t that was sent and answered at these times.
func (a *account) judge(count tally, t *demoToken, sent, answered time.Time, got answer) {
	a.mu.Lock()
	defer a.mu.Unlock()
	must, mustNot := t.expected(sent, answered)
	count["sent"]++
	switch {
	case got == noAnswer:
		count["no answer"]++
	case got == refused && must:
		count["wrongly refused"]++
	case got == refused && mustNot:
		count["rightly refused"]++
	case got == refused:
		count["refused during a change"]++
	case mustNot:
		count["wrongly accepted"]++
	default:
		count["accepted as "+string(got)]++
	}
}

// expected reports whether a request that was sent and answered at these times must have
// been accepted, and whether it must have been refused.
func (t *demoToken) expected(sent, answered time.Time) (must, mustNot bool) {
	must = !t.accepted.IsZero() && !sent.Before(t.accepted) && (t.mayRefuse.IsZero() || answered.Before(t.mayRefuse))
	mustNot = answered.Before(t.created) || !t.mustRefuse.IsZero() && !sent.Before(t.mustRefuse)
	return must, mustNot
}

// table returns the tallies as text, and reports whether the agent answered every request
// right.
func (a *account) table() (text string, allGood bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	var b strings.Builder
	fmt.Fprintf(&b, "\n%-24s %12s %12s %12s\n", "", "read once", "tokenagent", "tokenagent")
	fmt.Fprintf(&b, "%-24s %12s %12s %12s\n", "", "http", "http", "grpc")
	good, bad := outcomes()
	for _, outcome := range slices.Concat(good, bad) {
		fmt.Fprintf(&b, "%-24s %12d %12d %12d\n", outcome, a.once[outcome], a.http[outcome], a.grpc[outcome])
	}
	return b.String(), !slices.ContainsFunc(bad, func(outcome string) bool { return a.http[outcome]+a.grpc[outcome] > 0 })
}

// wrong returns how many requests were wrongly refused so far, and how many were wrongly
// accepted: by the server that reads its token once, and by the agent over HTTP.
func (a *account) wrong() (onceRefused, onceAccepted, agentRefused, agentAccepted int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.once["wrongly refused"], a.once["wrongly accepted"], a.http["wrongly refused"], a.http["wrongly accepted"]
}
