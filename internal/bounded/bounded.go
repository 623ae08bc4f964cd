// Package bounded bounds reads that cannot be cancelled, such as one of a dead network file
// system.
package bounded

import (
	"context"
	"fmt"
)

// Do returns the results of read. If ctx ends first, Do returns the cause, with the name of
// what is read. The read then goes on in a goroutine, and its results are dropped.
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
		return none, fmt.Errorf("reading %s was given up: %w", name, context.Cause(ctx))
	}
}
