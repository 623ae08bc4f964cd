package jwt

import (
	"context"
	"math/rand/v2"
	"runtime"
	"time"

	"github.com/tokenagent/tokenagent/internal/hold"
)

// A checkLimit bounds the number of signature checks that run at once. A bad signature
// costs as much as a good one, and senders choose how many tokens they send, so checks
// get half of the processors. The other half serves tokens that need no check: shared
// tokens and cached tokens.
//
// A check takes a place, not a token: while a token tries eight keys, other checks run in
// between. Before a check gets a place, it enters one of two short queues, both first in,
// first out. One queue holds the first check of each token, the other holds further
// checks. So a token with a kid does not wait for the further checks of tokens without
// one.
//
// The queues stay short only if senders of forged tokens do not send the next token as
// soon as the last one is refused. So hold delays these refusals while other checks wait.
type checkLimit struct {
	places  chan struct{} // one value for each running check
	first   chan struct{} // one value for each first check that runs or waits
	further chan struct{} // one value for each further check that runs or waits
	held    chan struct{} // one value for each delayed refusal
}

const (
	// maxCheckWait is the longest time that a check waits to enter its queue.
	maxCheckWait = 100 * time.Millisecond
	// queuedPerPlace is the length of each queue per place. The wait is short even for
	// the slowest keys, on P-521: about 2 ms per check.
	queuedPerPlace = 64
	// holdTime is how long the refusal of a forged token waits, on average. At most it
	// is one and a half times as long, which is less than the second that the gateways
	// of deploy/gateways wait for an answer.
	holdTime = 600 * time.Millisecond
	// maxHeld bounds the memory that waiting refusals take: about 30 KB each for the
	// longest tokens.
	maxHeld = 128
)

func newCheckLimit(places int) *checkLimit {
	return &checkLimit{
		places:  make(chan struct{}, places),
		first:   make(chan struct{}, queuedPerPlace*places),
		further: make(chan struct{}, queuedPerPlace*places),
		held:    make(chan struct{}, maxHeld),
	}
}

// processChecks is the limit of all verifiers of the process, because they share the
// processors. Its channels are created here and not at their first use, because the first
// use may run in a bubble of testing/synctest, and goroutines outside cannot use channels
// of a bubble.
var processChecks = newCheckLimit(max(1, runtime.GOMAXPROCS(0)/2)) //nolint:gochecknoglobals // one limit per process

// do runs one check of a token and returns its result. The result done is false if ctx
// ended before the check began, or if the queue stayed full for maxCheckWait.
func (l *checkLimit) do(ctx context.Context, isFirst bool, check func() bool) (good, done bool) {
	queue := l.further
	if isFirst {
		queue = l.first
	}
	select {
	case queue <- struct{}{}:
	default:
		wait, cancel := context.WithTimeout(ctx, maxCheckWait)
		defer cancel()
		select {
		case queue <- struct{}{}:
		case <-wait.Done():
			return false, false
		}
	}
	defer func() { <-queue }()
	select {
	case l.places <- struct{}{}:
	case <-ctx.Done():
		return false, false
	}
	defer func() { <-l.places }()
	return check(), true
}

// hold delays the refusal of a forged token by about holdTime if other checks wait, but
// not after ctx ends. A sender that waits for the refusal leaves the places to other
// tokens meanwhile. The delay is random, so that such senders do not return all at once.
func (l *checkLimit) hold(ctx context.Context) {
	if len(l.first)+len(l.further) <= cap(l.places) || hold.IsOff(ctx) {
		return
	}
	select {
	case l.held <- struct{}{}:
	default:
		return
	}
	defer func() { <-l.held }()
	wait := time.NewTimer(holdTime/2 + rand.N(holdTime)) //nolint:gosec // the delay is not a secret
	defer wait.Stop()
	select {
	case <-wait.C:
	case <-ctx.Done():
	}
}
