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

// A conditionAsker notes the conditions of each request, and answers 304 to one that has
// the ETag of the keys that it has.
type conditionAsker struct {
	keys, etag string
	headers    []string // of what it answers
	conditions []string
}

func (c *conditionAsker) reply(r *http.Request) replied {
	conditions := []string{r.Header.Get("If-None-Match")}
	for name := range r.Header {
		if strings.HasPrefix(name, "If-") && name != "If-None-Match" {
			conditions = append(conditions, name)
		}
	}
	seen := strings.Join(conditions, " ")
	c.conditions = append(c.conditions, seen)
	if c.etag != "" && seen == c.etag {
		return says(304, "", c.headers...)(r)
	}
	return says(200, c.keys, append([]string{"ETag", c.etag, "Last-Modified", "Mon, 02 Jan 2006 15:04:05 GMT"}, c.headers...)...)(r)
}

func (c *conditionAsker) last() string { return c.conditions[len(c.conditions)-1] }

func TestRemoteNotModified(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		keys := string(set(newEC(t).jwk("kid", "a")))
		asker := &conditionAsker{keys: keys, etag: `W/"one"`, headers: []string{"Cache-Control", "max-age=120"}}
		s, p := remote(t, RemoteOptions{}, asker.reply)
		read(t, s)
		asker.headers[1] = "max-age=600"
		time.Sleep(3 * time.Minute)
		if got := read(t, s); got != keys || asker.last() != `W/"one"` || p.count() != 2 {
			t.Fatalf("%s, asked with %s", got, asker.last())
		}
		time.Sleep(8 * time.Minute) // what came with the 304 counts
		if read(t, s); p.count() != 2 {
			t.Error("another request while the answer was fresh")
		}
		// A bad answer's validator is not remembered, or its 304 would be good.
		p.says(says(200, "garbage", "ETag", `"bad"`))
		time.Sleep(3 * time.Minute)
		if got := read(t, s); !strings.HasPrefix(got, "error: ") {
			t.Fatal(got)
		}
		p.says(asker.reply)
		time.Sleep(2 * time.Second)
		if got := read(t, s); got != keys || asker.last() != `W/"one"` {
			t.Errorf("%s, asked with %s", got, asker.last())
		}
		// What cannot be sent back is not: it would break every request from then on.
		for _, etag := range []string{"\"a\x01b\"", "\"\xff\"", `"` + strings.Repeat("x", 2000) + `"`} {
			asker.etag = etag
			s.Refresh()
			read(t, s)
			time.Sleep(12 * time.Minute)
			if got := read(t, s); got != keys || asker.last() != "" {
				t.Errorf("%s, asked with %q", got, asker.last())
			}
		}
	})
}

// TestRemoteAsksForTheWhole: if there is a reason to think that the keys have changed, the
// request has no condition, so that the server cannot answer that they have not.
func TestRemoteAsksForTheWhole(t *testing.T) {
	t.Parallel()
	for name, reason := range map[string]func(*RemoteSource){
		"Refresh":       (*RemoteSource).Refresh,
		"a token's key": func(s *RemoteSource) { s.UnknownKey() },
	} {
		synctest.Test(t, func(t *testing.T) {
			a, b := string(set(newEC(t).jwk("kid", "a"))), string(set(newEC(t).jwk("kid", "b")))
			asker := &conditionAsker{keys: a, etag: `"same"`, headers: []string{"Cache-Control", "max-age=60"}}
			s, p := remote(t, RemoteOptions{}, asker.reply)
			read(t, s)
			asker.keys = b
			time.Sleep(2 * time.Minute)
			if got := read(t, s); got != a || asker.last() != `"same"` {
				t.Fatalf("%s, asked with %q", got, asker.last())
			}
			reason(s)
			if got := read(t, s); got != b || asker.last() != "" {
				t.Errorf("%s: %s, asked with %q", name, got, asker.last())
			}
			// Nor where the first attempt failed.
			asker.keys = a
			p.says(says(500, ""))
			time.Sleep(2 * time.Minute)
			reason(s)
			read(t, s)
			p.says(asker.reply)
			time.Sleep(3 * time.Second)
			if got := read(t, s); got != a || asker.last() != "" {
				t.Errorf("%s, after a failure: %s, asked with %q", name, got, asker.last())
			}
			time.Sleep(2 * time.Minute)
			if read(t, s); asker.last() != `"same"` {
				t.Errorf("%s: no condition, though there is no reason any more", name)
			}
		})
	}
}

// TestRemoteHasTheWholeEachHour: answers "not modified" keep and confirm the keys for at
// most an hour.
func TestRemoteHasTheWholeEachHour(t *testing.T) {
	t.Parallel()
	for _, age := range []string{"max-age=60", "max-age=1500", "max-age=3600", "max-age=86400"} {
		synctest.Test(t, func(t *testing.T) {
			asker := &conditionAsker{keys: string(set(newEC(t).jwk("kid", "a"))), etag: `"same"`, headers: []string{"Cache-Control", age}}
			s, p := remote(t, RemoteOptions{MaxStale: 10 * time.Hour}, asker.reply)
			began, whole, longest := time.Now(), time.Now(), time.Duration(0)
			for time.Since(began) < 12*time.Hour {
				before := p.count()
				read(t, s)
				if p.count() > before && asker.last() == "" {
					longest, whole = max(longest, time.Since(whole)), time.Now()
				}
				time.Sleep(time.Second)
			}
			if longest > time.Hour+time.Second || longest < 50*time.Minute {
				t.Errorf("%s: %s between two whole answers", age, longest)
			}
		})
	}
	synctest.Test(t, func(t *testing.T) {
		asker := &conditionAsker{keys: string(set(newEC(t).jwk("kid", "a"))), etag: `"same"`, headers: []string{"Cache-Control", "max-age=60"}}
		s, _ := remote(t, RemoteOptions{MaxStale: 10 * time.Minute}, func(r *http.Request) replied {
			if r.Header.Get("If-None-Match") == "" && len(asker.conditions) > 0 {
				return says(304, "")(r) // it has nothing else to say
			}
			return asker.reply(r)
		})
		began := time.Now()
		for time.Since(began) < time.Hour+10*time.Minute+time.Second {
			read(t, s)
			if since := time.Since(began); since < time.Hour && !s.Usable() {
				t.Fatalf("not usable after %s", since)
			}
			time.Sleep(time.Second)
		}
		if s.Usable() {
			t.Error("a server that only repeats itself has confirmed the keys for longer than an hour")
		}
		if got := read(t, s); !strings.Contains(got, "304 to a request without a condition") {
			t.Error(got)
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
