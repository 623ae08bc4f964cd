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

func TestRemoteNotModified(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		keys := string(set(newEC(t).jwk("kid", "a")))
		s, p := remote(t, RemoteOptions{}, says(200, keys, "ETag", `W/"one"`, "Last-Modified", "Mon, 02 Jan 2006 15:04:05 GMT", "Cache-Control", "max-age=120"))
		read(t, s)
		var conditions string
		p.says(func(r *http.Request) replied {
			conditions = r.Header.Get("If-None-Match") + " " + r.Header.Get("If-Modified-Since")
			return says(304, "", "Cache-Control", "max-age=600")(r)
		})
		time.Sleep(3 * time.Minute)
		if got := read(t, s); got != keys || conditions != `W/"one" Mon, 02 Jan 2006 15:04:05 GMT` || p.count() != 2 {
			t.Fatalf("%s, asked with %s", got, conditions)
		}
		time.Sleep(8 * time.Minute) // what came with the 304 counts
		if read(t, s); p.count() != 2 {
			t.Error("another request while the answer was fresh")
		}
		// A bad answer's validators are not remembered, or its 304 would be good.
		p.says(says(200, "garbage", "ETag", `"bad"`))
		s.Refresh()
		if got := read(t, s); !strings.HasPrefix(got, "error: ") {
			t.Fatal(got)
		}
		p.says(func(r *http.Request) replied {
			conditions = r.Header.Get("If-None-Match")
			return says(304, "")(r)
		})
		s.Refresh()
		if got := read(t, s); got != keys || conditions != `W/"one"` {
			t.Errorf("%s, asked with %s", got, conditions)
		}
		// What cannot be sent back is not: it would break every request from then on.
		for _, etag := range []string{"\"a\x01b\"", "\"\xff\"", `"` + strings.Repeat("x", 2000) + `"`} {
			p.says(says(200, keys, "ETag", etag))
			s.Refresh()
			read(t, s)
			p.says(func(r *http.Request) replied {
				conditions = r.Header.Get("If-None-Match") + r.Header.Get("If-Modified-Since")
				return says(200, keys)(r)
			})
			s.Refresh()
			if got := read(t, s); got != keys || conditions != "" {
				t.Errorf("%s, asked with %q", got, conditions)
			}
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
		p.says(says(304, ""))
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
		if err := <-other; err == nil || !strings.Contains(err.Error(), "no whole answer within 10s") {
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
		asleep := func(at time.Time) time.Time { return at.Round(0).Add(-10 * time.Minute) }
		s.confirmed, s.next = asleep(s.confirmed), asleep(s.next)
		if read(t, s); s.Usable() || p.count() != 2 {
			t.Errorf("usable %v, %d requests", s.Usable(), p.count())
		}
	})
}
