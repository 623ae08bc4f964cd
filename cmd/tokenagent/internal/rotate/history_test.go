package rotate_test

import (
	"context"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/rotate"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/rotate/auto"
)

// In a random history, runs and aborts are killed, meet each other, lose requests and answers,
// see the API server's clock jump, and wait for slow rollouts. No sender is refused, and a run
// that nobody disturbs ends the rotation. TOKENAGENT_TEST_HISTORIES says how many to try.
func TestRandomHistoriesRefuseNobody(t *testing.T) {
	n := 6
	if text := os.Getenv("TOKENAGENT_TEST_HISTORIES"); text != "" {
		n, _ = strconv.Atoi(text)
	}
	for seed := range n {
		synctest.Test(t, func(t *testing.T) {
			w, stop := newWorld(t, "a", "b")
			defer stop()
			w.history(rand.New(&lockedSource{source: rand.NewPCG(uint64(seed), 15)}))
		})
		if t.Failed() {
			t.Fatalf("in history %d", seed)
		}
	}
}

// A lockedSource is for the requests that run at the same time.
type lockedSource struct {
	mu     sync.Mutex
	source rand.Source
}

func (l *lockedSource) Uint64() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.source.Uint64()
}

func (w *world) history(random *rand.Rand) {
	chance := func(percent int) bool { return random.IntN(100) < percent }
	upTo := func(d time.Duration) time.Duration { return time.Duration(random.Int64N(int64(d))) }
	w.podTime = time.Second + upTo(10*time.Minute)
	overlap := 20*time.Minute + upTo(time.Hour)
	options := func() auto.Options {
		o := w.options()
		o.MinAge = 0
		rotate.WholeSteps(&o, overlap)
		return o
	}
	w.faults.do = func(f *faults, req *http.Request) (*http.Response, error) {
		switch random.IntN(4) {
		case 0:
			return nil, io.ErrUnexpectedEOF
		case 1:
			_, _ = f.next.RoundTrip(req)
			return nil, io.ErrUnexpectedEOF
		case 2:
			f.jump(upTo(6*time.Minute) - 3*time.Minute)
			return f.pass(req)
		}
		return answer(http.StatusConflict, nil, `{"kind":"Status"}`), nil
	}
	for range 2 + random.IntN(4) {
		w.faults.mu.Lock()
		w.faults.seen, w.faults.at = 0, random.IntN(60)
		w.faults.mu.Unlock()
		done := make(chan struct{})
		runs := 1 + random.IntN(2)
		for range runs {
			act, lag, lives := (*auto.Runner).Run, upTo(2*time.Minute), upTo(12*time.Minute)
			if chance(25) {
				act = (*auto.Runner).Abort
			}
			go func() {
				defer func() { done <- struct{}{} }()
				w.sleep(lag)
				ctx, kill := context.WithTimeout(w.ctx, lives)
				defer kill()
				_ = act(auto.New(options()), ctx) // it may be killed, or stop
			}()
		}
		for range runs {
			<-done
		}
	}
	w.faults.mu.Lock()
	w.faults.at = 0
	w.faults.mu.Unlock()
	if err := auto.New(options()).Run(w.ctx); err != nil {
		w.t.Errorf("a run that nobody disturbs: %v", err)
	}
	w.noneRefused()
	a, b := w.keys("a"), w.keys("b")
	if string(a["token"]) != string(b["token"]) || w.step("a")+w.step("b") != "idleidle" {
		w.t.Errorf("it is %s and %s, with %s and %s", w.step("a"), w.step("b"), fingerprint(string(a["token"])), fingerprint(string(b["token"])))
	}
}
