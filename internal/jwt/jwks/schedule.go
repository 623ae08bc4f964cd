package jwks

import (
	"context"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// due reports whether a request is due at now. The caller must hold turn.
func (s *RemoteSource) due(now time.Time) bool {
	if s.o.MaxStale > 0 && s.stale.Load() > 0 && !wall(now).Before(wall(s.confirmed).Add(s.o.MaxStale)) {
		// The monotonic clock stops while the machine sleeps, so also compare the wall
		// clock.
		s.stale.Store(0)
	}
	switch {
	case s.forced.Swap(false):
		s.whole = true
		return true
	case !now.Before(s.next) || s.err == nil && !wall(now).Before(wall(s.next)):
		return true
	default:
		return s.err == nil && s.asked.Load() && s.mayAsk()
	}
}

// perCoolDown is the number of requests that tokens can cause in each CoolDown.
const perCoolDown = 3

// refill returns the time after which tokens can cause one more request, in nanoseconds.
func (s *RemoteSource) refill() int64 { return int64(s.o.CoolDown / perCoolDown) }

// mayAsk reports whether tokens may cause another request now.
func (s *RemoteSource) mayAsk() bool { return s.spent.Load() <= s.since() }

// wall removes the monotonic reading, so that times are compared by the wall clock.
func wall(t time.Time) time.Time { return t.Round(0) }

// maxRepeated is the longest time for which the server may answer that its keys have not
// changed. After that time, the next request asks for the whole answer.
const maxRepeated = time.Hour

// request makes one request and stores the result. The caller must hold turn.
func (s *RemoteSource) request(ctx context.Context, now time.Time, limit int64) {
	if s.asked.Swap(false) {
		// Count the request first, so that a token that arrives during the request waits
		// for the next one.
		s.spent.Store(max(s.spent.Load(), s.since()) + s.refill())
		s.whole = true
	}
	since := max(now.Sub(s.answered), wall(now).Sub(wall(s.answered)))
	a, err := s.fetch(ctx, limit, s.etag != "" && !s.whole && since < maxRepeated)
	switch {
	case ctx.Err() != nil:
		return
	case err != nil:
		s.err = err
		s.failures++
		s.next = time.Now().Add(s.pause(a))
		return
	}
	s.next = now.Add(s.spread(s.freshness(a.header)))
	if a.same {
		if latest := s.answered.Add(maxRepeated); s.next.After(latest) {
			s.next = latest
		}
	} else {
		s.body, s.etag = a.body, validator(a.header, "ETag")
		s.answered, s.whole = now, false
	}
	s.err, s.failures, s.confirmed = nil, 0, now
	s.stale.Store(int64(now.Add(max(s.o.MaxStale, 1)).Sub(s.begin)))
}

// pause returns the time to wait after a failure.
func (s *RemoteSource) pause(a answer) time.Duration {
	wait := s.o.MinRefresh
	if doublings := s.failures - 1; doublings < 32 {
		wait = min(wait, time.Second<<doublings)
	}
	wait = spread(wait)
	if a.after > 0 {
		// Wait at least as long as the server asked, and at most a tenth longer.
		asked := min(a.after, s.patience(time.Now()))
		wait = max(wait, asked+time.Duration(rand.Int64N(int64(asked)/10+1))) //nolint:gosec // the delay is not a secret
	}
	return wait
}

// patience returns the longest pause that a server may ask for. A server that has
// recovered must be asked before the keys go stale, and soon after a rotation.
func (s *RemoteSource) patience(now time.Time) time.Duration {
	most := 5 * s.o.MinRefresh
	if s.o.MaxStale == 0 {
		return most
	}
	left := s.confirmed.Add(s.o.MaxStale).Sub(now)
	if left <= 0 {
		return s.o.MinRefresh
	}
	return min(most, max(left/2, time.Second))
}

// silent is the freshness of an answer without a Cache-Control max-age.
const silent = 5 * time.Minute

// freshness returns the time for which an answer is fresh (RFC 9111 section 4.2).
func (s *RemoteSource) freshness(h http.Header) time.Duration {
	fresh := silent
	for directive := range strings.SplitSeq(strings.Join(h.Values("Cache-Control"), ","), ",") {
		name, value, _ := strings.Cut(strings.ToLower(strings.TrimSpace(directive)), "=")
		switch name {
		case "no-cache", "no-store":
			return s.within(0)
		case "max-age":
			age := seconds(h.Get("Age"))
			fresh = max(0, seconds(strings.Trim(value, `"`))-age)
		}
	}
	return s.within(fresh)
}

// within limits a refresh interval to its bounds, and to half of MaxStale, so that one
// request can fail before the keys go stale.
func (s *RemoteSource) within(d time.Duration) time.Duration {
	d = min(max(d, s.o.MinRefresh), s.o.MaxRefresh)
	if s.o.MaxStale > 0 {
		d = min(d, s.o.MaxStale/2)
	}
	return d
}

// seconds returns the delta-seconds (RFC 9111 section 1.2.2) in text, at most 2^31
// seconds. It returns 0 if text is not a number.
func seconds(text string) time.Duration {
	const most = 1 << 31
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil && n == 0 {
		return 0
	}
	return time.Duration(min(n, most)) * time.Second
}

// retryAfter returns the delay in the Retry-After header (RFC 9110 section 10.2.3), or 0
// if there is none.
func retryAfter(h http.Header, now time.Time) time.Duration {
	text := h.Get("Retry-After")
	if at, err := http.ParseTime(text); err == nil {
		return max(0, at.Sub(now))
	}
	return seconds(text)
}

// spread is like the function spread, but the result is at most MaxRefresh if d is.
func (s *RemoteSource) spread(d time.Duration) time.Duration {
	d = spread(d)
	if most := s.o.MaxRefresh; d > most {
		return 2*most - d
	}
	return d
}

// spread changes d at random by up to a tenth, so that the machines of a fleet do not
// make their requests at the same time.
func spread(d time.Duration) time.Duration {
	return time.Duration(float64(d) * (0.9 + 0.2*rand.Float64())) //nolint:gosec // the delay is not a secret
}
