package counter

import (
	"sync"
	"testing"
)

func TestCounterCountsEveryAddition(t *testing.T) {
	t.Parallel()
	const goroutines, each = 8, 20_000
	var c Counter
	var adding sync.WaitGroup
	for range goroutines {
		adding.Go(func() {
			last := uint64(0)
			for range each {
				c.Add()
				if n := c.Load(); n <= last {
					t.Errorf("%d after %d", n, last)
				} else {
					last = n
				}
			}
		})
	}
	adding.Wait()
	if got := c.Load(); got != goroutines*each {
		t.Errorf("counted %d, want %d", got, goroutines*each)
	}
}

// A Counter that has one cell adds without an allocation, and so does one that has many.
func TestAddAllocatesNothing(t *testing.T) {
	var c Counter
	if n := testing.AllocsPerRun(1000, c.Add); n != 0 {
		t.Errorf("%v allocations", n)
	}
	c.addToMany() // as after two goroutines have met
	if n := testing.AllocsPerRun(1000, c.Add); n != 0 {
		t.Errorf("%v allocations with many cells", n)
	}
	if c.many.Load() == nil || c.Load() != 2003 {
		t.Errorf("counted %d, with many cells: %t", c.Load(), c.many.Load() != nil)
	}
}
