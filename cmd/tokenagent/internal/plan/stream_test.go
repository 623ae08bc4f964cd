package plan

import (
	"math/rand/v2"
	"slices"
	"testing"
)

// The index finds what a search finds, wherever the values lie.
func TestAscendingIsASearch(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	for n := range 2000 {
		values := make([]float64, 1+n%50)
		for i := range values {
			switch n % 4 {
			case 0:
				values[i] = r.ExpFloat64()
			case 1:
				values[i] = float64(r.IntN(5))
			case 2:
				values[i] = 10 + r.Float64()
			}
		}
		slices.Sort(values)
		a := newAscending(values)
		at := append([]float64{-1, 0, 1e9}, values...)
		for range 20 {
			at = append(at, r.Float64()*12-0.5)
		}
		for _, v := range at {
			if got, want := a.above(v), above(values, v); got != want {
				t.Fatalf("%v: above(%g) is %d, want %d", values, v, got, want)
			}
		}
	}
}
