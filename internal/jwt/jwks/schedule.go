package jwks

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"time"
)

const (
	// defaultTimeout limits a request if the client of the options has no timeout.
	defaultTimeout = 10 * time.Second
	// minRefresh and maxRefresh limit how long an answer is fresh, whatever it says.
	minRefresh = time.Minute
	maxRefresh = time.Hour
	// defaultFresh is the freshness of an answer without a Cache-Control max-age.
	defaultFresh = 5 * time.Minute
	// coolDown is the least time between two requests that tokens cause.
	coolDown = 20 * time.Second
)

// isDue reports whether a request is due. It also reads the files again. The caller must
// hold turn.
func (s *RemoteSource) isDue() bool {
	changed := s.files.Reload()
	forced := s.forced.Swap(false)
	switch {
	case forced || elapsed(s.last) >= s.pause:
		return true
	case s.err != nil: // tokens do not shorten the pause after a failure, but a new file may fix it
		return changed
	default:
		return s.asked.Load() && elapsed(s.lastAsked) >= coolDown
	}
}

// elapsed returns the time since t by the clock that shows more. The monotonic clock stops
// while the machine sleeps, and the wall clock may be set back.
func elapsed(t time.Time) time.Duration {
	now := time.Now()
	return max(now.Sub(t), now.Round(0).Sub(t))
}

// request makes one request and stores the result. The caller must hold turn.
func (s *RemoteSource) request(ctx context.Context, limit int64) {
	began := time.Now()
	if s.asked.Swap(false) { // before the request: a token that comes meanwhile asks again
		s.lastAsked = began
	}
	a, err := s.fetch(ctx, limit)
	if ctx.Err() != nil {
		return
	}
	s.err = err
	if err == nil {
		if last := s.keys.Swap(a.keys); last == nil || last.url != a.keys.url {
			s.o.Logger.Info("the metadata of the issuer says where its keys are", "url", a.keys.name)
		}
		s.body = a.body
		s.confirmed.Store(&began)
	}
	s.setDocumentError(a.documentErr)
	if err != nil || a.documentErr != nil {
		s.failures++
		s.last, s.pause = time.Now(), s.backOff(a.retryAfter)
		return
	}
	s.failures = 0
	s.last, s.pause = began, spread(a.fresh)
}

// setDocumentError stores the error of the metadata document, and logs it if it is new. An
// error before there are any keys is the error of Read.
func (s *RemoteSource) setDocumentError(err error) {
	last := s.document.Load()
	switch {
	case err == nil || s.err != nil && errors.Is(s.err, err):
		s.document.Store(nil)
	case last == nil || (*last).Error() != err.Error():
		s.document.Store(&err)
		s.o.Logger.Error("the metadata of the issuer is not usable; its last good content stays in use", "error", err)
	}
}

// backOff returns the time to wait after a failure. The server may ask for a longer pause,
// but it must be asked again soon after a rotation, and before the keys go stale.
func (s *RemoteSource) backOff(retryAfter time.Duration) time.Duration {
	longest := 5 * minRefresh
	if at := s.confirmed.Load(); at != nil && s.o.MaxStale > 0 {
		longest = min(longest, max(time.Second, (s.o.MaxStale-elapsed(*at))/2))
	}
	retryAfter = min(retryAfter, longest)
	backOff := min(minRefresh, time.Second<<min(s.failures-1, 30))
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
	fresh = min(max(fresh, minRefresh), maxRefresh)
	if s.inCluster {
		fresh = minRefresh
	}
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
