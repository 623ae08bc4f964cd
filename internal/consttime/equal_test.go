package consttime

import (
	"math/rand/v2"
	"testing"
)

// TestEqualSeesEveryByte flips each bit of each byte. The lengths cover every path through
// the loops.
func TestEqualSeesEveryByte(t *testing.T) {
	t.Parallel()
	for n := range 140 {
		a := make([]byte, n)
		for i := range a {
			a[i] = byte(rand.Uint32())
		}
		if !Equal(string(a), string(a)) {
			t.Fatalf("%d bytes: not equal to themselves", n)
		}
		if Equal(string(a), string(a)+"x") {
			t.Fatalf("%d bytes: equal to a longer string", n)
		}
		for i := range a {
			for bit := range 8 {
				b := append([]byte(nil), a...)
				b[i] ^= 1 << bit
				if Equal(string(a), string(b)) {
					t.Fatalf("%d bytes: a change of bit %d in byte %d is not detected", n, bit, i)
				}
				if i+8 < n { // and two changes that could cancel each other
					b[i+8] ^= 1 << bit
					if Equal(string(a), string(b)) {
						t.Fatalf("%d bytes: changes in bytes %d and %d cancel", n, i, i+8)
					}
				}
			}
		}
	}
}
