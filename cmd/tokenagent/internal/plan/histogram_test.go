package plan

import (
	"math"
	"strings"
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
	all := h.shape().Bins
	for i, b := range all {
		share := 0.1
		switch i {
		case 10:
			share = 0
		case 11:
			share = 1. / 2001
		}
		if b.From != float64(i)*10 || b.To != float64(i+1)*10 || math.Abs(b.Share-share) > 1e-4 {
			t.Errorf("bar %d: %+v, want %g", i, b, share)
		}
	}
	lines := strings.Split(bars(all), "\n")
	full := strings.Repeat("#", barWidth)
	for i, want := range map[int]string{0: "       0s to 10s      10.0% " + full, 10: "    1m40s to 1m50s     0.0%", 11: "    1m50s to more      0.0% #"} {
		if lines[i] != want {
			t.Errorf("line %d is %q, want %q", i, lines[i], want)
		}
	}
	for _, line := range lines {
		if len(line) > 80 {
			t.Errorf("%q is too wide", line)
		}
	}
}
