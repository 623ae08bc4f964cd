package jwt

import (
	"context"
	"math/rand/v2"
	"runtime"
	"time"
)

// A checkLimit bounds how many signatures are checked at once. A bad signature costs
// as much as a good one, and whoever sends tokens chooses how many come, so checks
// get half of the processors. The rest is left to tokens that need no check: shared
// ones, and those that were verified before.
//
// Places are taken by checks, not by tokens: a token that tries eight keys lets others
// go first in between. Before it gets a place, a check enters one of two short queues,
// both first in, first out. One is for the first check of a token, the other for
// further checks, so that a token that names its key does not stand behind those that
// name none.
//
// A queue is only short if those who send forged tokens do not send the next one as
// soon as the last was answered. So their refusal waits while others do; see hold.
type checkLimit struct {
	places  chan struct{} // holds one value for each check that runs
	first   chan struct{} // for each first check that runs or is in the queue
	further chan struct{} // for each further one
	held    chan struct{} // for each forged token whose refusal waits
}

const (
	// maxCheckWait is how long a check waits to enter its queue.
	maxCheckWait = 100 * time.Millisecond
	// queuedPerPlace is how long each queue is. Its time is short even for the slowest
	// keys, those on P-521: some 2 ms a check.
	queuedPerPlace = 64
	// holdTime is how long the refusal of a forged token waits, on average.
	holdTime = time.Second
	// heldPerPlace bounds the memory that this takes.
	heldPerPlace = 1024
)

func newCheckLimit(places int) *checkLimit {
	return &checkLimit{
		places:  make(chan struct{}, places),
		first:   make(chan struct{}, queuedPerPlace*places),
		further: make(chan struct{}, queuedPerPlace*places),
		held:    make(chan struct{}, heldPerPlace*places),
	}
}

// processChecks is the limit of all verifiers, since they share the processors. Its
// channels are made here and not at their first use: that may be in a bubble of
// testing/synctest, which others have no access to.
var processChecks = newCheckLimit(max(1, runtime.GOMAXPROCS(0)/2)) //nolint:gochecknoglobals // see above

// do runs one check of a token and returns its result. It returns false where ctx
// ended, or the queue was full for maxCheckWait, before the check began.
func (l *checkLimit) do(ctx context.Context, isFirst bool, check func() bool) (good, done bool) {
	queue := l.further
	if isFirst {
		queue = l.first
	}
	if !enter(ctx, queue) {
		return false, false
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

// hold waits for about holdTime if other checks wait, or until ctx ends, before a forged
// token is refused. Whoever sends the next one when the last was answered leaves the
// places to others meanwhile. The time is random, so that they do not come back together.
func (l *checkLimit) hold(ctx context.Context) {
	if len(l.first)+len(l.further) <= cap(l.places) {
		return
	}
	select {
	case l.held <- struct{}{}:
	default:
		return
	}
	defer func() { <-l.held }()
	wait := time.NewTimer(holdTime/2 + rand.N(holdTime)) //nolint:gosec // no secret
	defer wait.Stop()
	select {
	case <-wait.C:
	case <-ctx.Done():
	}
}

// enter sends to queue, and reports whether that was possible within maxCheckWait and
// before ctx ended.
func enter(ctx context.Context, queue chan<- struct{}) bool {
	select {
	case queue <- struct{}{}:
		return true
	default:
	}
	wait := time.NewTimer(maxCheckWait)
	defer wait.Stop()
	select {
	case queue <- struct{}{}:
		return true
	case <-wait.C:
	case <-ctx.Done():
	}
	return false
}
