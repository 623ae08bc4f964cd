// Package bounded limits the time of a read that cannot be cancelled, such as a read from
// a network file system that hangs.
package bounded

import (
	"context"
	"fmt"
	"time"
)

// patience is how long Wait waits.
const patience = time.Second

// Wait calls wait, such as the method of a sync.WaitGroup, and returns when it does, or
// after a second. wait then continues in a goroutine.
func Wait(wait func()) {
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		wait()
	}()
	limit := time.NewTimer(patience)
	defer limit.Stop()
	select {
	case <-ended:
	case <-limit.C:
	}
}

// Do calls read and returns its results. If ctx ends first, Do returns the cause, with the
// name of the file in it. The read then continues in a goroutine, and its results are
// dropped.
func Do[T any](ctx context.Context, name string, read func() (T, error)) (T, error) {
	type result struct {
		value T
		err   error
	}
	done := make(chan result, 1)
	go func() {
		value, err := read()
		done <- result{value, err}
	}()
	select {
	case r := <-done:
		return r.value, r.err
	case <-ctx.Done():
		var none T
		return none, fmt.Errorf("gave up reading %s: %w", name, context.Cause(ctx))
	}
}
