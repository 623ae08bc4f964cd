package agent

import (
	"math/bits"
	"runtime"
	"sync/atomic"
	"unsafe"

	"github.com/tokenagent/tokenagent/internal/rotation"
	"github.com/tokenagent/tokenagent/pkg/verify"
)

// counts counts verifications without making the cores that verify wait for
// each other. One shared counter costs 6 ns on one core and 18 on two, since
// its cache line moves with each addition; so there are many cells, and a
// goroutine keeps to one.
type counts struct {
	cells []cell
	shift int
}

// The kinds of verification: accepted by slot, then refused by class.
const (
	refused = len(rotation.Slots) // index of the first class
	kinds   = refused + int(verify.Revoked) + 1
)

// A cell fills two cache lines of its own: processors fetch them in pairs.
type cell struct {
	n [kinds]atomic.Uint64
	_ [128 - 8*kinds]byte
}

func newCounts() *counts {
	// Many more cells than cores, so that two goroutines rarely share one.
	n := bits.Len(uint(64*runtime.GOMAXPROCS(0) - 1))
	return &counts{cells: make([]cell, 1<<min(n, 12)), shift: 64 - min(n, 12)}
}

func (c *counts) add(kind int) {
	// The address of a variable on the stack tells goroutines apart; the
	// multiplier (2^64 by the golden ratio) spreads what differs in it.
	var here byte
	at := uint64(uintptr(unsafe.Pointer(&here))) >> 11 //nolint:gosec // only its value is used, to choose a cell
	c.cells[at*0x9E3779B97F4A7C15>>c.shift].n[kind].Add(1)
}

// accepted counts a verification that p came of.
func (c *counts) accepted(p *verify.Principal) { c.add(int(p.Slot()) - 1) }

// refused counts a verification that err came of.
func (c *counts) refused(err error) { c.add(refused + int(verify.Class(err))) }

// sums returns the total of each kind.
func (c *counts) sums() (sums [kinds]uint64) {
	for i := range c.cells {
		for k := range sums {
			sums[k] += c.cells[i].n[k].Load()
		}
	}
	return sums
}
