//go:build unix

package supervise

import (
	"syscall"
	"testing"
	"time"
)

// TestRevokedTokenIsReplacedAtOnce: there is no delay, because every reader of the source
// refuses the token.
func TestRevokedTokenIsReplacedAtOnce(t *testing.T) {
	restarted := []string{"0s start A", "10s signal terminated", "10s start B"}
	for name, c := range map[string]struct {
		play func(w *fixture)
		want []string
	}{
		"with the change": {func(w *fixture) {
			w.after(10 * time.Second)
			w.src.revoke(tokenA)
			w.set(tokenB)
		}, restarted},
		"with the promotion of what was staged just now": {func(w *fixture) {
			w.after(9 * time.Second)
			w.set(tokenA, tokenB)
			w.after(time.Second)
			w.src.revoke(tokenA)
			w.set(tokenB)
		}, restarted},
		"in the delay": {func(w *fixture) {
			w.set(tokenB)
			w.after(10 * time.Second)
			w.src.revoke(tokenA)
			w.set(tokenB)
		}, restarted},
		"before there is a new one": {func(w *fixture) {
			w.src.revoke(tokenA)
			w.set("")
			w.after(10 * time.Second)
			w.set(tokenB)
		}, restarted},
		"another one": {func(w *fixture) {
			w.src.revoke(tokenC)
			w.set(tokenB)
		}, []string{"0s start A", "15s signal terminated", "15s start B"}},
		"with nothing in its place": {func(w *fixture) {
			w.src.revoke(tokenA)
			w.set("")
		}, []string{"0s start A"}},
		"of a program that fails": {func(w *fixture) {
			w.set(tokenB)
			w.after(delay)
			w.ends(1)
			w.src.revoke(tokenB)
			w.set(tokenC)
		}, []string{"0s start A", "15s signal terminated", "15s start B", "15s start C"}},
		"of a program that stops": {func(w *fixture) {
			w.endsOnTerm = false
			w.set(tokenB)
			w.after(delay)
			w.src.revoke(tokenB)
			w.set(tokenC)
			w.ends(0)
		}, []string{"0s start A", "15s signal terminated", "15s start C"}},
	} {
		t.Run(name, func(t *testing.T) {
			supervised(t, Options{Delay: delay}, func(w *fixture) {
				c.play(w)
				w.after(time.Hour)
				w.want(c.want...)
			})
		})
	}
	supervised(t, Options{Delay: delay, ChangeSignal: syscall.SIGHUP}, func(w *fixture) {
		w.src.revoke(tokenA)
		w.set(tokenB)
		w.after(time.Hour)
		w.want("0s start A", "0s signal hangup")
	})
}
