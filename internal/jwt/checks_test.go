package jwt

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/tokenagent/tokenagent/internal/hold"
	"github.com/tokenagent/tokenagent/pkg/verify"
)

// TestP6_SignatureChecksAreBounded fills the places and the queue: the next token
// waits 100 ms to enter the queue and is refused, and a token that is known does not
// wait.
func TestP6_SignatureChecksAreBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		key, checks := counted(t, "")
		k := signingKeys()["HS256"]
		v := verifier(t, keySet(t, nil, key), nil)
		v.checks = newCheckLimit(2)
		signed := func(jti string) string { return k.sign(t, claimsNow(map[string]any{"jti": jti}), nil) }
		known, late := signed("known"), signed("late")
		if err := verdictOf(v, known); err != nil {
			t.Fatal(err)
		}
		checks.begun, checks.held = make(chan struct{}, 2*queuedPerPlace+1), make(chan struct{})
		var all sync.WaitGroup
		for i := range 2 * queuedPerPlace {
			token := signed(strconv.Itoa(i))
			all.Go(func() {
				if err := verdictOf(v, token); err != nil {
					t.Error(err)
				}
			})
		}
		synctest.Wait()
		if n := len(checks.begun); n != 2 {
			t.Errorf("%d signatures are checked at once, want 2", n)
		}
		since := time.Now()
		if err := verdictOf(v, late); !errors.Is(err, verify.ErrBusy) || !errors.Is(err, verify.ErrUnavailable) || v.issuers[0].Busy() != 1 {
			t.Errorf("one too many: %v, counted %d", err, v.issuers[0].Busy())
		}
		if waited := time.Since(since); waited != 100*time.Millisecond {
			t.Errorf("it waited %s", waited)
		}
		ended, end := context.WithCancel(t.Context())
		end()
		if _, err := v.Verify(ended, late); !errors.Is(err, verify.ErrBusy) || !errors.Is(err, verify.ErrUnavailable) || time.Since(since) != 100*time.Millisecond {
			t.Errorf("of a request that has ended: %v after %s", err, time.Since(since))
		}
		if err := verdictOf(v, known); err != nil || time.Since(since) != 100*time.Millisecond {
			t.Errorf("a token that is known waits for the others: %v", err)
		}
		waiting := make(chan error)
		go func() { waiting <- verdictOf(v, late) }()
		synctest.Wait()
		close(checks.held)
		if err := <-waiting; err != nil {
			t.Errorf("it waited, and there was a place: %v", err)
		}
		all.Wait()
	})
}

// TestRequestThatEndsLeavesItsPlace: a request that ends while its check waits leaves the
// queue.
func TestRequestThatEndsLeavesItsPlace(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := newCheckLimit(1)
		held, gone := make(chan struct{}), make(chan struct{})
		go l.do(t.Context(), true, func() bool { <-held; return true })
		synctest.Wait()
		ctx, cancel := context.WithCancel(t.Context())
		go func() {
			defer close(gone)
			if _, done := l.do(ctx, true, func() bool { t.Error("checked"); return true }); done {
				t.Error("done")
			}
		}()
		synctest.Wait()
		cancel()
		<-gone
		if len(l.first) != 1 || len(l.places) != 1 {
			t.Errorf("%d in the queue, %d places taken; want that of the first", len(l.first), len(l.places))
		}
		close(held)
		synctest.Wait()
		if len(l.first)+len(l.further)+len(l.places) != 0 {
			t.Error("somebody is still in the queue")
		}
	})
}

// A slow method takes a fixed time for each check, in the time of a synctest bubble.
type slow struct {
	jwt.SigningMethod
	takes time.Duration
}

func (s slow) Verify(input string, signature []byte, key any) error {
	time.Sleep(s.takes)
	return s.SigningMethod.Verify(input, signature, key)
}

// TestP6_GoodTokensPassAFlood sends forged tokens over many connections, each as fast as
// it is answered, and 200 good tokens a second that were never seen: none is refused,
// 99 of 100 take a few times as long as a check, and forged ones without a kid do not
// hold up good ones that name their key. One place stands for two processors.
func TestP6_GoodTokensPassAFlood(t *testing.T) {
	t.Parallel()
	named := map[string]any{"kid": "k"}
	for name, c := range map[string]struct {
		connections  int
		takes        time.Duration // a check
		keys         int           // without a kid
		forged, good map[string]any
		within       time.Duration // 99 of 100 good tokens, after half a second
	}{
		"8 nameless keys of RSA 4096, and a good kid": {64, 400 * time.Microsecond, 8, nil, named, 5 * time.Millisecond},
		"8 nameless keys of RSA 4096":                 {64, 400 * time.Microsecond, 8, nil, nil, 5 * time.Millisecond},
		"a key of RSA 4096 by its kid":                {64, 400 * time.Microsecond, 8, named, named, 10 * time.Millisecond},
		"a slow key on P-521 by its kid":              {64, 2 * time.Millisecond, 0, named, named, 15 * time.Millisecond},
		"a key on P-521, 128 connections":             {128, 600 * time.Microsecond, 0, named, named, 5 * time.Millisecond},
		"2 nameless keys on P-521, 128 connections":   {128, 600 * time.Microsecond, 2, nil, nil, 15 * time.Millisecond},
		"a key on P-521, more connections than held":  {160, 600 * time.Microsecond, 0, named, named, 40 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				good := signingKeys()["HS256"]
				var keys []Key
				for i := range c.keys {
					k := signingKey{"HS256", nil, []byte(fmt.Sprintf("secret %d of at least thirty-two bytes", i))}
					keys = append(keys, k.key(t, ""))
				}
				switch {
				case c.keys == 0:
					keys = []Key{good.key(t, "k")}
				case c.good == nil:
					keys[len(keys)-1] = good.key(t, "")
				default:
					keys = append(keys[:len(keys)-1], signingKey{"HS256", nil, []byte("the last secret of thirty-two bytes")}.key(t, ""), good.key(t, "k"))
				}
				for _, k := range keys {
					(*k.k).method = slow{jwt.SigningMethodHS256, c.takes}
				}
				v := verifier(t, keySet(t, nil, keys...), nil)
				v.checks = newCheckLimit(1)
				forged := signingKey{"HS256", []byte("nobody's secret of thirty-two bytes"), nil}.sign(t, claimsNow(nil), c.forged)
				ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
				defer cancel()
				var all sync.WaitGroup
				for range c.connections {
					all.Go(func() {
						for ctx.Err() == nil {
							if _, err := v.Verify(ctx, forged); err == nil {
								t.Error("a forged token is accepted")
								return
							}
							time.Sleep(100 * time.Microsecond) // on its way
						}
					})
				}
				time.Sleep(5 * time.Second) // the first burst is over
				var took [500]time.Duration
				for i := range took {
					token := good.sign(t, claimsNow(map[string]any{"jti": strconv.Itoa(i)}), c.good)
					time.Sleep(time.Second / 200)
					all.Go(func() {
						since := time.Now()
						if err := verdictOf(v, token); err != nil {
							t.Errorf("good token %d: %v after %s", i, err, time.Since(since))
						}
						took[i] = time.Since(since)
					})
				}
				cancel()
				all.Wait()
				later := took[100:] // by then it is known which of the nameless keys signs
				slices.Sort(later)
				if p99 := later[len(later)*99/100]; p99 > c.within {
					t.Errorf("99 of 100 take %s, want %s", p99, c.within)
				}
			})
		})
	}
}

// TestForgedTokenIsHeldWhileOthersWait: the refusal of a forged token is delayed while
// other checks wait, unless too many refusals are delayed already, or the request ends.
func TestForgedTokenIsHeldWhileOthersWait(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := newCheckLimit(1)
		held := func(ctx context.Context) time.Duration {
			since := time.Now()
			l.hold(ctx)
			return time.Since(since)
		}
		l.further <- struct{}{} // one is checked
		if d := held(t.Context()); d != 0 {
			t.Errorf("held for %s, and nobody waits", d)
		}
		l.first <- struct{}{}
		different := make(map[time.Duration]bool)
		for range 20 {
			d := held(t.Context())
			if d < holdTime/2 || d > holdTime*3/2 {
				t.Errorf("held for %s, want about %s", d, holdTime)
			}
			different[d] = true
		}
		if len(different) < 10 {
			t.Errorf("held for %d different times of 20; want them to be spread", len(different))
		}
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		if d := held(ctx); d != 100*time.Millisecond {
			t.Errorf("held for %s, and the request ended after 100 ms", d)
		}
		if len(l.held) != 0 {
			t.Errorf("%d are still held", len(l.held))
		}
		if d := held(hold.Off(t.Context())); d != 0 {
			t.Errorf("held for %s though another verifier is asked next", d)
		}
		for range maxHeld {
			l.held <- struct{}{}
		}
		if d := held(t.Context()); d != 0 {
			t.Errorf("held for %s beside %d others", d, maxHeld)
		}
	})
}

// TestVerifiersShareOneLimit: all realms share the processors.
func TestVerifiersShareOneLimit(t *testing.T) {
	t.Parallel()
	one, other := verifier(t, nil, nil), verifier(t, nil, nil)
	if one.checks != other.checks {
		t.Error("each has a limit of its own")
	}
	if got, want := cap(one.checks.places), max(1, runtime.GOMAXPROCS(0)/2); got != want {
		t.Errorf("%d checks at once, want %d: half of the processors", got, want)
	}
}
