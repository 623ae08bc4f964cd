// Package broadcast wakes all goroutines that wait for a change.
package broadcast

import "sync"

// A Channel wakes all goroutines that wait for the next change. The zero Channel is ready to
// use. It is safe for concurrent use and must not be copied.
type Channel struct {
	mu sync.Mutex
	ch chan struct{}
}

// Next returns a channel that the next Send closes.
func (c *Channel) Next() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ch == nil {
		c.ch = make(chan struct{})
	}
	return c.ch
}

// Send wakes the waiting goroutines.
func (c *Channel) Send() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ch != nil {
		close(c.ch)
		c.ch = nil
	}
}
