package plan

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// oldUses are those of senders that stop at some times, as a rotation draws them.
func oldUses(at []float64, rate float64, seed uint64) (last func(from, to float64) (float64, bool), unbroken func(from, limit, gap float64) (float64, bool)) {
	starts := make([]float64, len(at))
	for i, t := range at {
		starts[i] = -t
	}
	t := trial{r: rand.New(rand.NewPCG(seed, seed+1)), oldToken: newRequests(starts, rate)}
	return t.lastOld, t.unbroken
}

// Windows that are renewed thousands of times end when they would if each renewal
// was looked at, by and large: with a rate that stays, and with one that falls.
func TestDenseUsesEndAsSingleOnes(t *testing.T) {
	t.Parallel()
	even := make([]float64, 400)
	for i := range even {
		even[i] = 100_000 * float64(i+1) / 400
	}
	for name, c := range map[string]struct {
		at    []float64 // when a sender stops
		share float64
		n     int
		slack float64
	}{
		"steady":        {slices.Repeat([]float64{100_000}, 40), 6.8 / 40, 300, 0.25},
		"steady, dense": {slices.Repeat([]float64{100_000}, 40), 9. / 40, 300, 0.25},
		"falling":       {even, 60. / 400, 100, 0.01}, // whose ends differ less
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			last, unbroken := oldUses(c.at, c.share, 21)
			const limit = 120_000
			v := receiver{}
			var single, dense []float64
			for range c.n {
				single = append(single, v.slidingEnd(1, limit, 1, last, nil))
				dense = append(dense, v.slidingEnd(1, limit, 1, last, unbroken))
			}
			mean := func(of []float64) float64 {
				sum := 0.0
				for _, x := range of {
					sum += x / float64(c.n)
				}
				return sum
			}
			slices.Sort(single)
			slices.Sort(dense)
			// A standard error is a seventeenth of the mean where the end is
			// exponential.
			for what, v := range map[string][2]float64{"mean": {mean(dense), mean(single)}, "p90": {at(dense, 0.9), at(single, 0.9)}} {
				if math.Abs(v[0]-v[1]) > c.slack*v[1] {
					t.Errorf("%s %g, one by one %g", what, v[0], v[1])
				}
			}
		})
	}
}

// However long the cap and however short the overlap, a window is looked at some
// hundred times: those of 100,000 receivers are to take seconds.
func TestDenseUsesCostLittle(t *testing.T) {
	t.Parallel()
	month := maxDuration.Seconds()
	even := make([]float64, 20_000)
	for i := range even {
		even[i] = month * float64(i+1) / 20_000
	}
	for _, at := range [][]float64{even, slices.Repeat([]float64{month}, 20_000)} {
		for _, rate := range []float64{1e-3, 3, 6, 8, 12, 20, 39, 41, 1e5, 1e9} { // of all, in the overlap
			last, unbroken := oldUses(at, rate/float64(len(at)), 23)
			asked := 0
			v := receiver{}
			end := v.slidingEnd(1, 2*month, 1, func(from, to float64) (float64, bool) {
				asked++
				return last(from, to)
			}, func(from, limit, gap float64) (float64, bool) {
				asked++
				return unbroken(from, limit, gap)
			})
			if asked > 10_000 {
				t.Errorf("rate %g: asked %d times", rate, asked)
			}
			if end < 1 || end > month+1 || rate > 1e4 && end < 0.9*month {
				t.Errorf("rate %g: the window ends at %g", rate, end)
			}
		}
	}
}
