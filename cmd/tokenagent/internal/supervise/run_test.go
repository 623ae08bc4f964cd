//go:build unix

package supervise

import (
	"fmt"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

const delay = 15 * time.Second

func TestChangeRestartsAfterTheDelay(t *testing.T) {
	supervised(t, Options{Delay: delay}, func(w *fixture) {
		w.after(time.Minute)
		w.set(tokenB)
		if got, want := testutil.ToFloat64(w.s.metrics.pending), unixTime(time.Now().Add(delay)); got != want {
			t.Errorf("the metrics say that it is due at %g, want %g", got, want)
		}
		w.after(delay - 1)
		w.want("0s start A")
		w.after(1)
		w.want("0s start A", "1m15s signal terminated", "1m15s start B")
		w.wantMetrics(1, 0, 0, 0)
		for name, c := range map[string]struct {
			gauge prometheus.Gauge
			want  float64
		}{
			"pending":        {w.s.metrics.pending, 0},
			"running":        {w.s.metrics.running, 1},
			"started":        {w.s.metrics.started, unixTime(time.Now())},
			"the new token":  {w.s.metrics.token.WithLabelValues(fingerprint(tokenB)), 1},
			"only one token": {w.s.metrics.token.WithLabelValues(fingerprint(tokenA)), 0},
		} {
			if got := testutil.ToFloat64(c.gauge); got != c.want {
				t.Errorf("the metric of %s is %g, want %g", name, got, c.want)
			}
		}
		w.after(time.Hour)
		w.want("0s start A", "1m15s signal terminated", "1m15s start B")
	})
}

func TestOnlyTheCurrentTokenCounts(t *testing.T) {
	for name, play := range map[string]func(w *fixture){
		"the same again":        func(w *fixture) { w.set(tokenA) },
		"another one is staged": func(w *fixture) { w.set(tokenA, tokenB) },
		"there and back": func(w *fixture) {
			w.set(tokenB)
			w.after(delay / 2)
			w.set(tokenA)
		},
		"revoked, with no other": func(w *fixture) { w.set("") },
		"changed, then revoked": func(w *fixture) {
			w.set(tokenB)
			w.after(delay / 2)
			w.set("")
		},
	} {
		t.Run(name, func(t *testing.T) {
			supervised(t, Options{Delay: delay}, func(w *fixture) {
				play(w)
				w.after(time.Hour)
				w.want("0s start A")
				if testutil.ToFloat64(w.s.metrics.pending) != 0 {
					t.Error("the metrics say that a restart is due")
				}
				w.set(tokenC) // it goes on from there
				w.after(delay)
				w.wantMetrics(1, 0, 0, 0)
			})
		})
	}
}

func TestAnotherChangeBeginsTheDelayAnew(t *testing.T) {
	supervised(t, Options{Delay: delay}, func(w *fixture) {
		w.set(tokenB)
		w.after(10 * time.Second)
		w.set(tokenC)
		w.after(delay - 1)
		w.want("0s start A")
		w.after(1)
		w.want("0s start A", "25s signal terminated", "25s start C")
	})
}

func TestStagedTokenIsKnownAlready(t *testing.T) {
	t.Run("for longer than the delay", func(t *testing.T) {
		supervised(t, Options{Delay: delay}, func(w *fixture) {
			w.set(tokenA, tokenB)
			w.after(delay)
			w.set(tokenB)
			w.want("0s start A", "15s signal terminated", "15s start B")
		})
	})
	t.Run("for a part of it", func(t *testing.T) {
		supervised(t, Options{Delay: delay}, func(w *fixture) {
			w.set(tokenA, tokenB)
			w.after(10 * time.Second)
			w.set(tokenB)
			w.after(5*time.Second - 1)
			w.want("0s start A")
			w.after(1)
			w.want("0s start A", "15s signal terminated", "15s start B")
		})
	})
	t.Run("and withdrawn meanwhile", func(t *testing.T) {
		supervised(t, Options{Delay: delay}, func(w *fixture) {
			w.set(tokenA, tokenB)
			w.after(time.Hour)
			w.set(tokenA)
			w.after(time.Hour)
			w.set(tokenB)
			w.after(delay - 1)
			w.want("0s start A")
		})
	})
}

// TestOldMustHaveEnded: launch fails the test if two programs run at the same time.
func TestOldMustHaveEnded(t *testing.T) {
	supervised(t, Options{}, func(w *fixture) {
		w.endsOnTerm = false
		w.set(tokenB)
		w.after(30*time.Second - 1)
		w.want("0s start A", "0s signal terminated")
		w.after(1)
		w.want("0s start A", "0s signal terminated", "30s kill", "30s start B")
		w.wantMetrics(1, 0, 0, 1)
		w.set(tokenC)
		w.after(time.Second)
		w.ends(0)
		w.want("0s start A", "0s signal terminated", "30s kill", "30s start B", "30s signal terminated", "31s start C")
	})
}

// TestChangeWhileStopping: the program starts with the token that receivers know, and
// restarts with the newest token when they know that one.
func TestChangeWhileStopping(t *testing.T) {
	supervised(t, Options{Delay: delay}, func(w *fixture) {
		w.endsOnTerm = false
		w.set(tokenB)
		w.after(delay)
		w.set(tokenC)
		w.after(5 * time.Second)
		w.endsOnTerm = true
		w.ends(0)
		w.after(time.Hour)
		w.want("0s start A", "15s signal terminated", "20s start B", "30s signal terminated", "30s start C")
	})
	supervised(t, Options{Delay: delay}, func(w *fixture) {
		w.endsOnTerm = false
		w.set(tokenB)
		w.after(delay)
		w.set(tokenC)
		w.after(20 * time.Second)
		w.ends(0)
		w.want("0s start A", "15s signal terminated", "35s start C")
	})
}

func TestSignalInsteadOfRestart(t *testing.T) {
	supervised(t, Options{Delay: delay, ChangeSignal: syscall.SIGHUP}, func(w *fixture) {
		w.set(tokenB)
		w.after(time.Hour)
		w.want("0s start A", "15s signal hangup")
		w.wantMetrics(0, 0, 1, 0)
		w.ends(3)
		w.wantEnd(3)
	})
}

func TestWaitForSource(t *testing.T) {
	supervised(t, Options{Wait: true, Delay: delay}, func(w *fixture) {
		w.after(time.Hour)
		w.wantRunning()
		w.want()
		w.set(tokenA)
		w.want("1h0m0s start A") // the first one waits for nobody
	})
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT} {
		supervised(t, Options{Wait: true}, func(w *fixture) {
			w.send(syscall.SIGUSR1) // nobody to forward it to
			w.wantRunning()
			w.send(sig)
			w.wantEnd(128 + int(sig))
			w.want()
		})
	}
}

func TestSignalsAreForwarded(t *testing.T) {
	supervised(t, Options{}, func(w *fixture) {
		w.endsOnTerm = false
		events := []string{"0s start A"}
		for _, sig := range []syscall.Signal{syscall.SIGQUIT, syscall.SIGUSR1, syscall.SIGTERM, syscall.SIGTERM, syscall.SIGINT} {
			w.send(sig)
			events = append(events, fmt.Sprintf("0s forward %s", sig))
		}
		w.after(time.Hour) // told by others, it is killed by others
		w.want(events...)
		w.ends(7)
		w.wantEnd(7)
	})
}

func TestNoRestartOnceToldToEnd(t *testing.T) {
	t.Run("in the delay", func(t *testing.T) {
		supervised(t, Options{Delay: delay}, func(w *fixture) {
			w.endsOnTerm = false
			w.set(tokenB)
			w.send(syscall.SIGTERM)
			w.after(time.Hour)
			w.set(tokenC)
			w.after(time.Hour)
			w.want("0s start A", "0s forward terminated")
			w.ends(0)
			w.wantEnd(0)
		})
	})
	t.Run("while it stops", func(t *testing.T) {
		supervised(t, Options{}, func(w *fixture) {
			w.endsOnTerm = false
			w.set(tokenB)
			w.send(syscall.SIGTERM) // which the program has from us already
			w.want("0s start A", "0s signal terminated")
			w.send(syscall.SIGTERM) // and this one it has not
			w.want("0s start A", "0s signal terminated", "0s forward terminated")
			w.after(30 * time.Second)
			w.want("0s start A", "0s signal terminated", "0s forward terminated", "30s kill")
			w.wantEnd(137)
		})
	})
	t.Run("while it stops, by another signal", func(t *testing.T) {
		supervised(t, Options{}, func(w *fixture) {
			w.endsOnTerm = false
			w.set(tokenB)
			w.send(syscall.SIGINT)
			w.want("0s start A", "0s signal terminated", "0s forward interrupt")
			w.ends(2)
			w.wantEnd(2)
		})
	})
	t.Run("while it rests", func(t *testing.T) {
		supervised(t, Options{}, func(w *fixture) {
			w.set(tokenB)
			w.ends(1)
			w.send(syscall.SIGINT)
			w.wantEnd(130)
		})
	})
	t.Run("when it was to be tried again", func(t *testing.T) {
		supervised(t, Options{}, func(w *fixture) {
			w.set(tokenB)
			w.send(syscall.SIGTERM)
			w.wantEnd(0)
			w.want("0s start A", "0s signal terminated", "0s start B", "0s forward terminated")
		})
	})
}

// TestSignalBeforeTheStart: a signal arrives after the old program has ended and before the
// new one starts.
func TestSignalBeforeTheStart(t *testing.T) {
	supervised(t, Options{}, func(w *fixture) {
		w.endsOnTerm = false
		w.set(tokenB)
		w.atEnd = func() { w.atEnd = nil; w.signals <- syscall.SIGTERM }
		w.ends(0)
		w.wantEnd(143)
		w.want("0s start A", "0s signal terminated")
	})
}
