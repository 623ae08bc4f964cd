package demo

import (
	"crypto/rand"
	"sync"
	"time"

	"github.com/tokenagent/tokenagent/internal/rotation"
	"github.com/tokenagent/tokenagent/pkg/verify"
)

// A world is the demo's own account of what ought to be accepted when, kept
// from what the operator did and never from what the agent answers.
type world struct {
	overlap time.Duration

	mu     sync.Mutex
	tokens []*fate
	counts map[string]*tally // by protocol
}

// A fate is when a token must be accepted and when it must be refused. Between
// the two, while something is on its way, either answer is right.
type fate struct {
	text        string
	introduced  time.Time // when it was first put into the Secret
	accepted    time.Time // since when it must be accepted
	promoted    time.Time // since when it is the current one: from here senders learn of it
	loosened    time.Time // from when it need not be accepted any more
	refusedFrom time.Time // since when it must be refused
}

func newWorld(overlap time.Duration) *world {
	return &world{overlap: overlap, counts: map[string]*tally{"http": {}, "grpc": {}}}
}

// introduce makes a new token, which is about to be put into the Secret, and
// returns its number.
func (w *world) introduce() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.tokens = append(w.tokens, &fate{text: "demo-" + rand.Text(), introduced: time.Now()})
	return len(w.tokens) - 1
}

// stage notes that token n is accepted since at, though nobody is told to send it.
func (w *world) stage(n int, at time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.tokens[n].accepted = at
}

// accept notes that token n is accepted and current since at.
func (w *world) accept(n int, at time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.tokens[n].accepted.IsZero() {
		w.tokens[n].accepted = at
	}
	w.tokens[n].promoted = at
}

// loosen notes that token n need not be accepted from at on.
func (w *world) loosen(n int, at time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if f := w.tokens[n]; f.loosened.IsZero() || at.Before(f.loosened) {
		f.loosened = at
	}
}

// refuse notes that token n must be refused from at on.
func (w *world) refuse(n int, at time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if f := w.tokens[n]; f.refusedFrom.IsZero() || at.Before(f.refusedFrom) {
		f.refusedFrom = at
	}
}

func (w *world) text(n int) string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.tokens[n].text
}

func (w *world) fingerprint(n int) string { return verify.Fingerprint(verify.Digest(w.text(n))) }

// tokenFor returns what a sender sends that learns of a new current token lag
// after the fact. An eager one takes a token as soon as it is staged.
func (w *world) tokenFor(lag time.Duration, eager bool) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := time.Now()
	for n := len(w.tokens) - 1; n > 0; n-- {
		f := w.tokens[n]
		if eager && !f.accepted.IsZero() || !f.promoted.IsZero() && !now.Before(f.promoted.Add(lag)) {
			return n
		}
	}
	return 0
}

// An answer is what came back for one request.
type answer int

const (
	unanswered answer = iota
	letIn
	refused
)

// A tally counts requests by what came of them.
type tally struct {
	sent, refusedRightly, straddling, wronglyRefused, wronglyLetIn, unanswered uint64
	letIn                                                                      uint64
	bySlot                                                                     [len(rotation.Slots)]uint64
}

// intruder is the number of a token that is in no Secret.
const intruder = -1

// judge counts a request with token n, sent and answered at these moments.
func (w *world) judge(protocol string, n int, sent, answered time.Time, a answer) {
	w.mu.Lock()
	defer w.mu.Unlock()
	t := w.counts[protocol]
	t.sent++
	must, mustNot := false, true
	if n != intruder {
		must, mustNot = w.tokens[n].at(sent, answered)
	}
	switch {
	case a == unanswered:
		t.unanswered++
	case a == letIn && mustNot:
		t.wronglyLetIn++
	case a == refused && must:
		t.wronglyRefused++
	case a == letIn:
		t.letIn++
	case mustNot:
		t.refusedRightly++
	default:
		t.straddling++
	}
}

// at reports whether a request that took from sent to answered had to be let
// in, and whether it had to be refused.
func (f *fate) at(sent, answered time.Time) (must, mustNot bool) {
	must = !f.accepted.IsZero() && !sent.Before(f.accepted) && (f.loosened.IsZero() || answered.Before(f.loosened))
	mustNot = answered.Before(f.introduced) || !f.refusedFrom.IsZero() && !sent.Before(f.refusedFrom)
	return must, mustNot
}

// slot counts a request that the server let in, by the slot of its token.
func (w *world) slot(protocol string, s rotation.Slot) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.counts[protocol].bySlot[s-1]++
}

// of returns the tally of one protocol.
func (w *world) of(protocol string) tally {
	w.mu.Lock()
	defer w.mu.Unlock()
	return *w.counts[protocol]
}

// total returns the sum over the protocols.
func (w *world) total() (sum tally) {
	for _, p := range []string{"http", "grpc"} {
		t := w.of(p)
		sum.sent += t.sent
		sum.letIn += t.letIn
		sum.refusedRightly += t.refusedRightly
		sum.straddling += t.straddling
		sum.wronglyRefused += t.wronglyRefused
		sum.wronglyLetIn += t.wronglyLetIn
		sum.unanswered += t.unanswered
		for i, n := range t.bySlot {
			sum.bySlot[i] += n
		}
	}
	return sum
}
