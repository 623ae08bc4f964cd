package measure

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"
)

func TestByTurnsRotatesTheFirstOp(t *testing.T) {
	t.Parallel()
	var order []string
	op := func(name string) Op {
		return Op{Name: name, N: 2, Run: func(n int) {
			for range n {
				order = append(order, name)
			}
		}}
	}
	all, err := ByTurns(t.Context(), Effort{Rounds: 3, Slice: time.Millisecond}, op("a"), op("b"), op("c"))
	if err != nil {
		t.Fatal(err)
	}
	if got, want := strings.Join(order, ""), "aabbcc"+"bbccaa"+"ccaabb"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	for _, s := range all {
		if len(s.NS) != 3 || s.N != 2 {
			t.Errorf("%s has %d rounds of %d runs, want 3 of 2", s.Name, len(s.NS), s.N)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := ByTurns(ctx, Effort{Rounds: 1}, op("a")); !errors.Is(err, context.Canceled) {
		t.Errorf("with a cancelled context: %v, want context.Canceled", err)
	}
}

func TestRatioPairsRounds(t *testing.T) {
	t.Parallel()
	// The machine gets slower from round to round, equally for both.
	ours, peer := Series{NS: []float64{1, 2, 4, 8, 16, 32, 64}}, Series{NS: []float64{2, 4, 8, 16, 32, 64, 128}}
	if got := ours.Ratio(peer); got != Exactly(0.5) {
		t.Errorf("ratio %v, want exactly 0.5", got)
	}
	if got := peer.Minus(ours).Value; got != 8 {
		t.Errorf("difference %v, want 8", got)
	}
	if got := Of(nil); got.Known() {
		t.Errorf("the estimate of no values is %v, want none", got)
	}
}

func TestCalibrateFillsTheSlice(t *testing.T) {
	t.Parallel()
	var now time.Duration
	op := Op{Run: func(n int) { now += time.Duration(n) * time.Microsecond }}
	if n := calibrate(op, 10*time.Millisecond, func() time.Duration { return now }); n < 9_000 || n > 11_000 {
		t.Errorf("%d runs fit into 10 ms, want about 10,000", n)
	}
}
