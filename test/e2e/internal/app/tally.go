// Package app is the receiver of daprd's calls, over HTTP and over gRPC: it
// does nothing but remember what reached it.
package app

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/tokenagent/tokenagent/test/e2e/internal/load"
)

// A Tally is what an app saw. The zero value is ready.
type Tally struct {
	Messages load.IDs // handled, by id
	Calls    load.IDs // invocations handled, by id
	Ticks    atomic.Int64

	// Refused counts the answers of a guard in front of the handlers that
	// turn a caller away.
	Refused atomic.Int64
	// TokenSeen counts the requests that reached a handler with a token header.
	TokenSeen atomic.Int64

	mark      atomic.Pointer[time.Time] // nil when none
	sinceMark atomic.Int64
	latest    atomic.Int64 // of those since the mark, in nanoseconds after it
}

// Mark begins to count the handled requests that begin at t or later.
func (t *Tally) Mark(at time.Time) {
	t.sinceMark.Store(0)
	t.latest.Store(0)
	t.mark.Store(&at)
}

// SinceMark is the number of handled requests that began at the mark or later,
// and how long after it the last of them began.
func (t *Tally) SinceMark() (n int64, latest time.Duration) {
	return t.sinceMark.Load(), time.Duration(t.latest.Load())
}

// Unmark ends the count.
func (t *Tally) Unmark() { t.mark.Store(nil) }

type begunKey struct{}

// begin remembers when a request came, before any guard looked at it.
func begin(ctx context.Context) context.Context {
	return context.WithValue(ctx, begunKey{}, time.Now())
}

// handled counts a request that reached its handler.
func (t *Tally) handled(ctx context.Context) {
	begun, ok := ctx.Value(begunKey{}).(time.Time)
	mark := t.mark.Load()
	if mark != nil && (!ok || !begun.Before(*mark)) {
		t.sinceMark.Add(1)
		t.latest.Store(int64(begun.Sub(*mark)))
	}
}
