//go:build unix

package supervise

import (
	"syscall"
	"testing"
	"time"
)

func TestEndByItselfEnds(t *testing.T) {
	for _, code := range []int{0, 1, 143} {
		supervised(t, Options{}, func(w *fixture) {
			w.ends(code)
			w.want("0s start A")
			w.wantEnd(code)
		})
	}
	t.Run("in the delay", func(t *testing.T) {
		supervised(t, Options{Delay: delay}, func(w *fixture) {
			w.set(tokenB)
			w.ends(4)
			w.wantEnd(4)
		})
	})
	t.Run("well after a restart", func(t *testing.T) {
		supervised(t, Options{}, func(w *fixture) {
			w.set(tokenB)
			w.after(soon)
			w.ends(4)
			w.wantEnd(4)
		})
	})
	t.Run("soon after a restart, with its work done", func(t *testing.T) {
		supervised(t, Options{}, func(w *fixture) {
			w.set(tokenB)
			w.ends(0)
			w.wantEnd(0)
		})
	})
	for _, sig := range []syscall.Signal{syscall.SIGQUIT, syscall.SIGINT, syscall.SIGTERM} {
		t.Run("soon after a restart, by "+sig.String()+" forwarded", func(t *testing.T) {
			supervised(t, Options{}, func(w *fixture) {
				w.set(tokenB)
				w.endsOnTerm = false
				w.send(sig)
				w.ends(128 + int(sig))
				w.wantEnd(128 + int(sig))
			})
		})
	}
}

// TestHarmlessSignalExplainsNoEnd sends signals that do not end a program. A failure after
// one of them still counts as a failure.
func TestHarmlessSignalExplainsNoEnd(t *testing.T) {
	for _, sig := range []syscall.Signal{syscall.SIGWINCH, syscall.SIGCONT, syscall.SIGUSR1, syscall.SIGUSR2, syscall.SIGALRM} {
		supervised(t, Options{}, func(w *fixture) {
			w.set(tokenB)
			w.send(sig)
			w.ends(1)
			w.wantRunning()
			w.after(time.Second)
			w.want("0s start A", "0s signal terminated", "0s start B", "0s forward "+sig.String(), "1s start B")
		})
	}
	supervised(t, Options{}, func(w *fixture) { // nor does it take back what was asked
		w.set(tokenB)
		w.endsOnTerm = false
		w.send(syscall.SIGQUIT)
		w.send(syscall.SIGWINCH)
		w.ends(131)
		w.wantEnd(131)
	})
}

func TestFailureSoonAfterARestart(t *testing.T) {
	supervised(t, Options{}, func(w *fixture) {
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
	supervised(t, Options{}, func(w *fixture) {
		w.set(tokenB)
		for range maxTries {
			w.ends(5)
			w.wantRunning()
			if w.until() <= 0 {
				t.Error("the metrics do not say when it is tried again")
			}
			w.after(w.until())
		}
		if took := time.Since(w.began); took != 183*time.Second {
			t.Errorf("the tries took %v", took)
		}
		w.ends(5)
		w.wantEnd(5)
	})
}

// TestNewTokenIsTriedAtOnce changes the token while the program fails. The program starts
// when the new token is due, even during a pause, and the tries are counted from 0.
func TestNewTokenIsTriedAtOnce(t *testing.T) {
	supervised(t, Options{}, func(w *fixture) {
		w.set(tokenB)
		w.ends(1)
		w.set(tokenC)
		w.want("0s start A", "0s signal terminated", "0s start B", "0s start C")
	})
	supervised(t, Options{Delay: 10 * time.Second}, func(w *fixture) {
		w.set(tokenB)
		w.after(10 * time.Second)
		w.ends(1)
		w.set(tokenC)
		for range 4 { // after 1, 2 and 4 s, and then comes a pause of 8 s
			w.after(w.until())
			w.ends(1)
		}
		w.want("0s start A", "10s signal terminated", "10s start B", "11s start B", "13s start B", "17s start B", "20s start C")
		w.wantMetrics(2, 3, 0, 0)
		w.wantRunning()
		w.after(time.Second)
		w.want("0s start A", "10s signal terminated", "10s start B", "11s start B", "13s start B", "17s start B", "20s start C", "21s start C")
	})
	supervised(t, Options{}, func(w *fixture) { // with the last try used up
		w.set(tokenB)
		for range maxTries - 1 {
			w.ends(5)
			w.after(w.until())
		}
		w.ends(5)
		w.set(tokenC)
		for range maxTries {
			w.ends(5)
			w.wantRunning()
			w.after(w.until())
		}
		w.ends(5)
		w.wantEnd(5)
	})
}

// TestTwoChangesOneRestart: the second change comes due while the program stops.
func TestTwoChangesOneRestart(t *testing.T) {
	supervised(t, Options{}, func(w *fixture) {
		w.endsOnTerm = false
		w.set(tokenB)
		w.set(tokenC)
		w.ends(0)
		w.want("0s start A", "0s signal terminated", "0s start C")
		w.wantMetrics(1, 0, 0, 0)
	})
}

func TestCannotStart(t *testing.T) {
	supervised(t, Options{Wait: true}, func(w *fixture) {
		w.fails = []error{errNotFound}
		w.set(tokenA)
		w.wantEnd(127)
	})
	supervised(t, Options{}, func(w *fixture) { // as while its file is replaced
		w.fails = []error{errNotFound, errNotFound}
		w.set(tokenB)
		w.after(time.Minute)
		w.want("0s start A", "0s signal terminated", "0s fails", "1s fails", "3s start B")
	})
	supervised(t, Options{}, func(w *fixture) {
		for range maxTries + 1 {
			w.fails = append(w.fails, errNotFound)
		}
		w.set(tokenB)
		w.after(time.Hour)
		w.wantEnd(127)
	})
}
