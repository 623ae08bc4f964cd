//go:build unix

package supervise

import (
	"syscall"
	"testing"
	"time"
)

func TestEndByItselfEnds(t *testing.T) {
	for _, code := range []int{0, 1, 143} {
		supervised(t, Options{}, func(w *world) {
			w.ends(code)
			w.want("0s start A")
			w.wantEnd(code)
		})
	}
	t.Run("in the delay", func(t *testing.T) {
		supervised(t, Options{Delay: delay}, func(w *world) {
			w.set(tokenB)
			w.ends(4)
			w.wantEnd(4)
		})
	})
	t.Run("well after a restart", func(t *testing.T) {
		supervised(t, Options{}, func(w *world) {
			w.set(tokenB)
			w.after(soon)
			w.ends(4)
			w.wantEnd(4)
		})
	})
	t.Run("soon after a restart, with its work done", func(t *testing.T) {
		supervised(t, Options{}, func(w *world) {
			w.set(tokenB)
			w.ends(0)
			w.wantEnd(0)
		})
	})
	t.Run("soon after a restart, by a signal forwarded", func(t *testing.T) {
		supervised(t, Options{}, func(w *world) {
			w.set(tokenB)
			w.send(syscall.SIGUSR1)
			w.ends(138)
			w.wantEnd(138)
		})
	})
}

func TestFailureSoonAfterARestart(t *testing.T) {
	supervised(t, Options{}, func(w *world) {
		w.after(time.Minute)
		w.set(tokenB)
		for range 3 {
			w.ends(1)
			w.wantRunning()
			w.after(10 * time.Second) // more than each pause
		}
		w.want("0s start A", "1m0s signal terminated", "1m0s start B", "1m1s start B", "1m12s start B", "1m24s start B")
		w.after(soon)
		w.ends(1) // it had settled
		w.wantEnd(1)
	})
}

func TestTriesAreBounded(t *testing.T) {
	supervised(t, Options{}, func(w *world) {
		w.set(tokenB)
		for range maxTries {
			w.ends(5)
			w.wantRunning()
			if w.s.stats.Load().due.IsZero() {
				t.Error("the metrics do not say when it is tried again")
			}
			for w.s.stats.Load().due.After(time.Now()) {
				w.after(time.Second)
			}
		}
		if took := time.Since(w.begun); took != 183*time.Second {
			t.Errorf("the tries took %v", took)
		}
		w.ends(5)
		w.wantEnd(5)
	})
}

func TestRestFetchesTheNewestToken(t *testing.T) {
	supervised(t, Options{}, func(w *world) {
		w.set(tokenB)
		w.ends(1)
		w.set(tokenC)
		w.after(time.Second)
		w.want("0s start A", "0s signal terminated", "0s start B", "1s start C")
	})
}

func TestCannotStart(t *testing.T) {
	supervised(t, Options{Wait: true}, func(w *world) {
		w.fails = []error{errNotFound}
		w.set(tokenA)
		w.wantEnd(127)
	})
	supervised(t, Options{}, func(w *world) { // as while its file is replaced
		w.fails = []error{errNotFound, errNotFound}
		w.set(tokenB)
		w.after(time.Minute)
		w.want("0s start A", "0s signal terminated", "0s fails", "1s fails", "3s start B")
	})
	supervised(t, Options{}, func(w *world) {
		for range maxTries + 1 {
			w.fails = append(w.fails, errNotFound)
		}
		w.set(tokenB)
		w.after(time.Hour)
		w.wantEnd(127)
	})
}
