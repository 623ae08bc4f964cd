package jwks

import (
	"context"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"time"
)

const (
	// requestsPerCoolDown is the number of requests that tokens can cause in each
	// CoolDown.
	requestsPerCoolDown = 3
	// maxRepeated is the longest time for which the server may answer that its keys have
	// not changed. After that time, the next request asks for the whole answer.
	maxRepeated = time.Hour
	// defaultFresh is the freshness of an answer without a Cache-Control max-age.
	defaultFresh = 5 * time.Minute
)

// isDue reports whether a request is due at now. It also reads the files again if they
// were not read for a while. The caller must hold turn.
func (s *RemoteSource) isDue(now time.Time) bool {
	// The monotonic clock stops while the machine sleeps, so also compare the wall clock.
	if s.o.MaxStale > 0 && s.staleAt.Load() > 0 && !wall(now).Before(wall(s.confirmed).Add(s.o.MaxStale)) {
		s.staleAt.Store(0)
	}
	forced := s.forced.Swap(false)
	s.whole = s.whole || forced
	due := forced || !now.Before(s.next) ||
		s.err == nil && (!wall(now).Before(wall(s.next)) || s.asked.Load() && s.mayAsk())
	if due || now.Sub(s.files.readAt) >= rereadFiles {
		// If the last request failed, the change of a file may be the fix.
		changed := s.files.read(now)
		due = due || changed && s.err != nil
	}
	return due
}

// mayAsk reports whether tokens may cause another request now.
func (s *RemoteSource) mayAsk() bool { return s.mayAskAt.Load() <= s.since() }

// wall removes the monotonic reading, so that times are compared by the wall clock.
func wall(t time.Time) time.Time { return t.Round(0) }

// request makes one request and stores the result. The caller must hold turn.
func (s *RemoteSource) request(ctx context.Context, now time.Time, limit int64) {
	if s.asked.Swap(false) {
		// Count the request first, so that a token that arrives during the request waits
		// for the next one.
		s.mayAskAt.Store(max(s.mayAskAt.Load(), s.since()) + int64(s.o.CoolDown/requestsPerCoolDown))
		s.whole = true
	}
	age := max(now.Sub(s.answered), wall(now).Sub(wall(s.answered)))
	a, err := s.fetch(ctx, limit, s.etag != "" && !s.whole && age < maxRepeated)
	switch {
	case ctx.Err() != nil:
		return
	case err != nil:
		s.err = err
		s.failures++
		s.next = time.Now().Add(s.pause(a.retryAfter))
		return
	}
	s.next = now.Add(spread(s.freshness(a.header)))
	if a.notModified {
		if latest := s.answered.Add(maxRepeated); s.next.After(latest) {
			s.next = latest
		}
	} else {
		s.body, s.etag = a.body, validETag(a.header)
		s.answered, s.whole = now, false
	}
	s.err, s.failures, s.confirmed = nil, 0, now
	s.staleAt.Store(int64(now.Add(max(s.o.MaxStale, 1)).Sub(s.begin)))
}

// pause returns the time to wait after a failure. The server may ask for a longer pause,
// but it must be asked again soon after a rotation, and before the keys go stale.
func (s *RemoteSource) pause(retryAfter time.Duration) time.Duration {
	longest := 5 * s.o.MinRefresh
	if s.o.MaxStale > 0 {
		longest = min(longest, max(time.Second, time.Until(s.confirmed.Add(s.o.MaxStale))/2))
	}
	retryAfter = min(retryAfter, longest)
	backOff := min(s.o.MinRefresh, time.Second<<min(s.failures-1, 30))
	return max(spread(backOff), retryAfter+rand.N(retryAfter/10+1)) //nolint:gosec // the delay is not a secret
}

// freshness returns the time for which an answer is fresh (RFC 9111 section 4.2), within
// the bounds. It is at most half of MaxStale, so that one request can fail before the
// keys go stale.
func (s *RemoteSource) freshness(h http.Header) time.Duration {
	fresh := defaultFresh
	for directive := range strings.SplitSeq(strings.Join(h.Values("Cache-Control"), ","), ",") {
		name, value, _ := strings.Cut(strings.ToLower(strings.TrimSpace(directive)), "=")
		if name == "no-cache" || name == "no-store" {
			fresh = 0
			break
		}
		if name == "max-age" {
			fresh = seconds(strings.Trim(value, `"`)) - seconds(h.Get("Age"))
		}
	}
	fresh = min(max(fresh, s.o.MinRefresh), s.o.MaxRefresh)
	if s.o.MaxStale > 0 {
		fresh = min(fresh, s.o.MaxStale/2)
	}
	return fresh
}

// seconds returns the delta-seconds (RFC 9111 section 1.2.2) in text, at most 2^31
// seconds. It returns 0 if text is not a number.
func seconds(text string) time.Duration {
	n, _ := strconv.ParseUint(text, 10, 64) // the largest uint64 if text is larger
	return time.Duration(min(n, 1<<31)) * time.Second
}

// retryAfter returns the delay in the Retry-After header (RFC 9110 section 10.2.3), or 0
// if there is none.
func retryAfter(h http.Header) time.Duration {
	text := h.Get("Retry-After")
	if at, err := http.ParseTime(text); err == nil {
		return max(0, time.Until(at))
	}
	return seconds(text)
}

// spread shortens d at random by up to a tenth, so that the machines of a fleet do not
// make their requests at the same time.
func spread(d time.Duration) time.Duration {
	return d - rand.N(d/10+1) //nolint:gosec // the delay is not a secret
}
