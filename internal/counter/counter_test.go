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

// TestAddAllocatesNothing, with and without cells.
func TestAddAllocatesNothing(t *testing.T) {
	var c Counter
	if n := testing.AllocsPerRun(1000, c.Add); n != 0 {
		t.Errorf("%v allocations", n)
	}
	c.addToCell() // as if two goroutines added at the same time
	if n := testing.AllocsPerRun(1000, c.Add); n != 0 {
		t.Errorf("%v allocations with cells", n)
	}
	if c.cells.Load() == nil || c.Load() != 2003 {
		t.Errorf("counted %d, with cells: %t", c.Load(), c.cells.Load() != nil)
	}
}
