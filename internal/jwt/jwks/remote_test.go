package jwks

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// TestRequestsHaveNoCondition: the server must send the key set each time, because servers
// and proxies answer of a key set that was rolled back that it has not changed.
func TestRequestsHaveNoCondition(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		keys := string(set(newEC(t).jwk("kid", "a")))
		s, p := remote(t, RemoteOptions{}, func(r *http.Request) replied {
			for name := range r.Header {
				if strings.HasPrefix(name, "If-") {
					t.Errorf("the request has the condition %s", name)
				}
			}
			if r.Header.Get("Cache-Control") != "no-cache" {
				t.Error("a proxy may repeat its cached answer")
			}
			return says(200, keys, "ETag", `"one"`, "Last-Modified", "Mon, 02 Jan 2006 15:04:05 GMT")(r)
		})
		for range 3 {
			if got := read(t, s); got != keys {
				t.Error(got)
			}
			time.Sleep(time.Hour)
		}
		if p.count() != 3 {
			t.Errorf("%d requests, want 3", p.count())
		}
	})
}

// TestRemoteUsable: the keys are usable until exactly MaxStale after the request
// that confirmed them began, and never at it.
func TestRemoteUsable(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		keys := string(set(newEC(t).jwk("kid", "a")))
		s, p := remote(t, RemoteOptions{MaxStale: 10 * time.Minute}, says(500, ""))
		read(t, s)
		if s.Usable() {
			t.Fatal("usable before there were any")
		}
		p.says(func(r *http.Request) replied {
			time.Sleep(5 * time.Second)
			return says(200, keys, "ETag", `"x"`)(r)
		})
		s.Refresh()
		began := time.Now()
		read(t, s)
		p.says(says(200, "garbage"))
		for time.Since(began) < 10*time.Minute-time.Second {
			read(t, s)
			if !s.Usable() {
				t.Fatalf("not usable after %s", time.Since(began))
			}
			time.Sleep(time.Second)
		}
		time.Sleep(10*time.Minute - 1 - time.Since(began))
		if !s.Usable() {
			t.Error("not usable one nanosecond before")
		}
		time.Sleep(1)
		if s.Usable() {
			t.Error("usable at the moment itself")
		}
		p.says(says(200, keys))
		s.Refresh()
		if read(t, s) != keys || !s.Usable() {
			t.Error("not usable after they were confirmed")
		}
		unbounded, _ := remote(t, RemoteOptions{}, says(200, keys))
		if unbounded.Usable() {
			t.Error("usable before there were any")
		}
		read(t, unbounded)
		time.Sleep(1000 * time.Hour)
		if !unbounded.Usable() {
			t.Error("stale without a bound")
		}
	})
}

func TestRemoteReadEndsWithItsContext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		keys := string(set(newEC(t).jwk("kid", "a")))
		s, p := remote(t, RemoteOptions{}, hangs)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		began := time.Now()
		_, err := s.Read(ctx, maxBytes)
		if !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != time.Second {
			t.Errorf("%v after %s", err, time.Since(began))
		}
		p.says(says(200, keys))
		if got := read(t, s); got != keys { // that was no failure of the server's
			t.Error(got)
		}
		// One that waits for another's request ends with its context, too.
		p.says(hangs)
		s.Refresh()
		other := make(chan error, 1)
		go func() { _, err := s.Read(context.Background(), maxBytes); other <- err }()
		synctest.Wait()
		ctx, cancel = context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err = s.Read(ctx, maxBytes); !errors.Is(err, context.DeadlineExceeded) || p.most != 1 {
			t.Errorf("%v, %d requests at once", err, p.most)
		}
		if err := <-other; err == nil || !strings.Contains(err.Error(), "no complete answer within 10s") {
			t.Error(err)
		}
	})
}

// TestRemoteAfterSuspend: while a machine sleeps its monotonic clock may stop,
// and the wall clock says how long ago the keys were confirmed.
func TestRemoteAfterSuspend(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, p := remote(t, RemoteOptions{MaxStale: 10 * time.Minute}, says(200, string(set(newEC(t).jwk("kid", "a")))))
		read(t, s)
		p.says(says(500, ""))
		read(t, s)
		if !s.Usable() || p.count() != 1 {
			t.Fatalf("%d requests", p.count())
		}
		before := s.last.Round(0).Add(-10 * time.Minute) // by the wall clock alone
		s.last = before
		s.confirmed.Store(&before)
		if read(t, s); s.Usable() || p.count() != 2 {
			t.Errorf("usable %v, %d requests", s.Usable(), p.count())
		}
	})
}
