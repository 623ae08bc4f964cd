package plan

import (
	"math"
	"testing"
)

func TestHistogram(t *testing.T) {
	h := newHistogram(120)
	for i := range 2000 {
		h.add(float64(i%100) + 0.5)
	}
	h.add(500) // longer than the top
	for q, want := range map[float64]float64{0.1: 10, 0.5: 50, 0.9: 90, 1: 500} {
		if got := h.quantile(q); math.Abs(got-want) > 1 {
			t.Errorf("quantile %g is %g, want %g", q, got, want)
		}
	}
}
