package agent

import (
	"math/bits"
	"runtime"
	"sync/atomic"
	"unsafe"

	"github.com/tokenagent/tokenagent/internal/rotation"
	"github.com/tokenagent/tokenagent/pkg/verify"
)

// counts counts verifications. One shared counter would cost 6 ns on one core and 18 ns
// on two, since its cache line moves with each addition. So there are many cells, and
// each goroutine adds to one of them.
type counts struct {
	cells []cell
	shift int
}

// The index of a count: the slot of an accepted token, or refused plus the class of a
// refusal.
const (
	refused = len(rotation.Slots) // index of the first refusal class
	kinds   = refused + int(verify.Revoked) + 1
)

// A cell fills two cache lines, since processors fetch cache lines in pairs.
type cell struct {
	n [kinds]atomic.Uint64
	_ [128 - 8*kinds]byte
}

func newCounts() *counts {
	// There are many more cells than cores, so that two goroutines rarely share one.
	n := bits.Len(uint(64*runtime.GOMAXPROCS(0) - 1))
	return &counts{cells: make([]cell, 1<<min(n, 12)), shift: 64 - min(n, 12)}
}

func (c *counts) add(kind int) {
	// Goroutines have different stacks, so the address of a local variable selects
	// the cell. The multiplier is 2^64 divided by the golden ratio; it spreads nearby
	// addresses over the cells.
	var onStack byte
	at := uint64(uintptr(unsafe.Pointer(&onStack))) >> 11 //nolint:gosec // the address is never dereferenced
	c.cells[at*0x9E3779B97F4A7C15>>c.shift].n[kind].Add(1)
}

// accepted counts a verification that returned p.
func (c *counts) accepted(p *verify.Principal) { c.add(int(p.Slot()) - 1) }

// refused counts a verification that returned err.
func (c *counts) refused(err error) { c.add(refused + int(verify.Class(err))) }

// sums returns each count, added over all cells.
func (c *counts) sums() (sums [kinds]uint64) {
	for i := range c.cells {
		for k := range sums {
			sums[k] += c.cells[i].n[k].Load()
		}
	}
	return sums
}
