package tokenreview

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/tokenagent/tokenagent/pkg/verify"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	audience = "orders"
	canary   = "CANARY.token.signature"
)

// An apiServer is a RoundTripper that answers like an API server.
type apiServer struct {
	mu       sync.Mutex
	requests []review
	running  int
	most     int // the largest value of running
	handle   func(review) (status int, body string, err error)
	delay    time.Duration
}

func (s *apiServer) RoundTrip(r *http.Request) (*http.Response, error) {
	var q review
	if err := json.NewDecoder(r.Body).Decode(&q); err != nil {
		return nil, err
	}
	s.mu.Lock()
	s.requests = append(s.requests, q)
	handle := s.handle
	s.running++
	s.most = max(s.most, s.running)
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		s.running--
		s.mu.Unlock()
	}()
	if s.delay > 0 {
		wait := time.NewTimer(s.delay)
		defer wait.Stop()
		select {
		case <-wait.C:
		case <-r.Context().Done():
			return nil, r.Context().Err()
		}
	}
	status, body, err := handle(q)
	if err != nil {
		return nil, err
	}
	return &http.Response{StatusCode: status, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(body)), Request: r}, nil
}

func (s *apiServer) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.requests)
}

func (s *apiServer) set(handle func(review) (int, string, error)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.handle = handle
}

func says(status int, body string) func(review) (int, string, error) {
	return func(review) (int, string, error) { return status, body, nil }
}

// good and bad are answers of a real API server, without the fields that do not matter.
const (
	good = `{"kind":"TokenReview","apiVersion":"authentication.k8s.io/v1","metadata":{},"spec":{"token":"` + canary + `","audiences":["orders"]},` +
		`"status":{"authenticated":true,"user":{"username":"system:serviceaccount:shop:cart"},"audiences":["orders"]}}`
	bad = `{"kind":"TokenReview","apiVersion":"authentication.k8s.io/v1","metadata":{},"spec":{"token":"` + canary + `","audiences":["orders"]},` +
		`"status":{"user":{},"error":"[invalid bearer token, service account token has been invalidated]"}}`
)

func newReviewer(t *testing.T, s *apiServer) (*Reviewer, *strings.Builder) {
	t.Helper()
	log := new(strings.Builder)
	r := New(Options{
		Transport: s, URL: "https://api.example/apis/authentication.k8s.io/v1/tokenreviews", Audiences: []string{"other", audience},
		Logger: slog.New(slog.NewTextHandler(log, nil)),
	})
	t.Cleanup(r.Close)
	return r, log
}

func (r *Reviewer) check(token string) error {
	return r.Check(context.Background(), verify.Digest(token), token)
}

// TestAnswerIsRememberedLessThanTenSeconds: a deleted pod's token is refused within 10 s.
func TestAnswerIsRememberedLessThanTenSeconds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &apiServer{handle: says(201, good), delay: 500 * time.Millisecond}
		r, _ := newReviewer(t, s)
		asked := time.Now()
		if err := r.check(canary); err != nil {
			t.Fatal(err)
		}
		s.set(says(201, bad)) // deleted as soon as the API server has accepted it
		for r.check(canary) == nil {
			time.Sleep(time.Millisecond)
		}
		if d := time.Since(asked); d < remember || d >= 10*time.Second {
			t.Errorf("the token is refused after %s", d)
		}
		if s.count() != 2 {
			t.Errorf("%d requests", s.count())
		}
		// A refusal is remembered for as long.
		s.set(says(201, good))
		asked = time.Now()
		for err := r.check(canary); err != nil; err = r.check(canary) {
			if !errors.Is(err, verify.ErrInvalidToken) {
				t.Fatal(err)
			}
			time.Sleep(time.Millisecond)
		}
		if d := time.Since(asked); d >= 10*time.Second || s.count() != 3 {
			t.Errorf("the token is accepted after %s and %d requests", d, s.count())
		}
		if c := r.Counts(); c != (Counts{Authenticated: 2, Refused: 1}) {
			t.Errorf("%+v", c)
		}
	})
}

// TestEachRequestIsNewToTheAPIServer: the API server would answer a question that it knows
// from its own cache.
func TestEachRequestIsNewToTheAPIServer(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &apiServer{handle: says(201, good)}
		r, _ := newReviewer(t, s)
		other, _ := newReviewer(t, s)
		for range 3 {
			if err := errors.Join(r.check(canary), other.check(canary)); err != nil {
				t.Fatal(err)
			}
			time.Sleep(remember)
		}
		seen := make(map[string]bool)
		for _, q := range s.requests {
			if q.APIVersion != apiVersion || q.Kind != kind || q.Spec.Token != canary || len(q.Spec.Audiences) != 3 || q.Spec.Audiences[1] != audience {
				t.Errorf("%+v", q)
			}
			seen[strings.Join(q.Spec.Audiences, " ")] = true
		}
		if len(s.requests) != 6 || len(seen) != 6 {
			t.Errorf("%d requests with %d lists of audiences", len(s.requests), len(seen))
		}
	})
}

func TestConcurrentChecksOfATokenMakeOneRequest(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &apiServer{handle: says(201, good), delay: time.Second}
		r, _ := newReviewer(t, s)
		var running sync.WaitGroup
		for i := range 300 {
			running.Go(func() {
				if err := r.check(fmt.Sprint("token ", i%3)); err != nil {
					t.Error(err)
				}
			})
		}
		// The caller that came first goes away; the others get the answer.
		ctx, cancel := context.WithCancel(t.Context())
		running.Go(func() {
			if err := r.Check(ctx, verify.Digest("token 3"), "token 3"); !errors.Is(err, verify.ErrUnavailable) {
				t.Error(err)
			}
		})
		synctest.Wait()
		running.Go(func() {
			if err := r.check("token 3"); err != nil {
				t.Error(err)
			}
		})
		synctest.Wait()
		cancel()
		running.Wait()
		if s.count() != 4 {
			t.Errorf("%d requests for 4 tokens", s.count())
		}
	})
}

// TestP5_NoAnswerIsNoAccess: whatever goes wrong, the token is unavailable and not accepted,
// and the error is logged once, with its fix.
func TestP5_NoAnswerIsNoAccess(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		handle func(review) (int, string, error)
		want   string
	}{
		"refused":       {func(review) (int, string, error) { return 0, "", errors.New("dial: " + canary) }, "no answer in HTTP"},
		"unauthorized":  {says(401, good), "does not accept the pod's own token"},
		"forbidden":     {says(403, good), "system:auth-delegator"},
		"not found":     {says(404, good), "answers 404"},
		"redirect":      {says(302, good), "answers 302"},
		"too many":      {says(429, good), "answers 429; the agent asks it again"},
		"broken":        {says(500, good), "answers 500"},
		"no content":    {says(204, ""), "answers 204"},
		"empty":         {says(200, ""), "not a TokenReview"},
		"HTML":          {says(200, "<html>"+canary), "not a TokenReview"},
		"other kind":    {says(200, strings.Replace(good, `"TokenReview"`, `"Status"`, 1)), "not a TokenReview"},
		"other version": {says(200, strings.Replace(good, "io/v1", "io/v1beta1", 1)), "not a TokenReview"},
		"cut off":       {says(200, good[:len(good)-1]), "not a TokenReview"},
		"too long":      {says(200, good+strings.Repeat(" ", maxBytes)), "not a TokenReview"},
	} {
		synctest.Test(t, func(t *testing.T) {
			s := &apiServer{handle: c.handle}
			r, log := newReviewer(t, s)
			for range 5 {
				if err := r.check(canary); !errors.Is(err, verify.ErrUnavailable) {
					t.Errorf("%s: %v", name, err)
				}
			}
			if s.count() != 1 {
				t.Errorf("%s: %d requests within a second", name, s.count())
			}
			time.Sleep(retry)
			_ = r.check(canary)
			if s.count() != 2 {
				t.Errorf("%s: not asked again after a second", name)
			}
			if text := log.String(); strings.Count(text, "token reviews fail") != 1 || !strings.Contains(text, c.want) || !strings.Contains(r.Failure(), c.want) || strings.Contains(text, "CANARY") {
				t.Errorf("%s: %q", name, text)
			}
			if c := r.Counts(); c != (Counts{Failed: 2}) {
				t.Errorf("%s: %+v", name, c)
			}
			s.set(says(201, good))
			time.Sleep(retry)
			if err := r.check(canary); err != nil || r.Failure() != "" || !strings.Contains(log.String(), "succeed again") {
				t.Errorf("%s: %v; %s", name, err, log)
			}
		})
	}
}

func TestSlowAPIServerIsUnavailable(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &apiServer{handle: says(201, good), delay: time.Hour}
		r, log := newReviewer(t, s)
		began := time.Now()
		var running sync.WaitGroup
		for i := range 3 * maxRequests {
			running.Go(func() {
				if err := r.check(fmt.Sprint("token ", i)); !errors.Is(err, verify.ErrUnavailable) {
					t.Error(err)
				}
			})
		}
		running.Wait()
		if d := time.Since(began); d != timeout || s.most != maxRequests {
			t.Errorf("%s, %d requests at once", d, s.most)
		}
		if !strings.Contains(log.String(), "no complete answer within 5s") && !strings.Contains(log.String(), "too many requests") {
			t.Error(log)
		}
	})
}

// TestMemoryIsBounded: many tokens do not take more memory than a limit, and those of the
// last seconds are remembered.
func TestMemoryIsBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &apiServer{handle: says(201, good)}
		r, _ := newReviewer(t, s)
		const most = 100
		r.max = most
		for i := range 2 * most {
			if err := r.check(strconv.Itoa(i)); err != nil {
				t.Fatal(err)
			}
		}
		if n := len(r.fresh) + len(r.old); n > most {
			t.Errorf("%d answers are remembered", n)
		}
		before := s.count()
		for i := range most / 2 {
			_ = r.check(strconv.Itoa(2*most - 1 - i))
		}
		if s.count() != before {
			t.Errorf("%d of the latest tokens were asked for again", s.count()-before)
		}
		time.Sleep(2 * remember)
		_ = r.check("a")
		time.Sleep(remember)
		_ = r.check("b")
		if n := len(r.fresh) + len(r.old); n != 2 {
			t.Errorf("%d answers are remembered that count no more", n)
		}
	})
}

// TestFloodOfTokensIsBounded: while the API server hangs, more tokens than the limit take
// neither a goroutine nor memory, and are unavailable at once. It is not parallel, because it
// counts goroutines.
func TestFloodOfTokensIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &apiServer{handle: says(201, good), delay: time.Hour}
		r, _ := newReviewer(t, s)
		began, before := time.Now(), runtime.NumGoroutine()
		gone, cancel := context.WithCancel(t.Context())
		cancel()
		for i := range 3 * maxPending {
			token := strconv.Itoa(i)
			if err := r.Check(gone, verify.Digest(token), token); !errors.Is(err, verify.ErrUnavailable) {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		if n := runtime.NumGoroutine() - before; n > maxPending {
			t.Errorf("%d goroutines", n)
		}
		if n := len(r.pending) + len(r.fresh) + len(r.old); n > maxPending {
			t.Errorf("%d answers are kept", n)
		}
		if err := r.check("one more"); !errors.Is(err, verify.ErrUnavailable) || time.Since(began) != 0 {
			t.Errorf("one more: %v after %s", err, time.Since(began))
		}
		if c := r.Counts(); c != (Counts{Failed: 2*maxPending + 1}) {
			t.Errorf("%+v", c)
		}
		// Those that wait end in time, and make room.
		time.Sleep(timeout)
		synctest.Wait()
		if n := len(r.pending); n != 0 {
			t.Errorf("%d requests are pending after %s", n, timeout)
		}
		s.mu.Lock()
		s.delay = 0
		s.mu.Unlock()
		if err := r.check("one more"); err != nil {
			t.Error(err)
		}
	})
}

// TestPendingAnswerIsNotLost: whatever is asked in the meantime, a token has one request at
// a time.
func TestPendingAnswerIsNotLost(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		hang := make(chan struct{})
		slow := 0
		s := &apiServer{handle: func(q review) (int, string, error) {
			if q.Spec.Token == "slow" {
				slow++
				<-hang
			}
			return 201, good, nil
		}}
		r, _ := newReviewer(t, s)
		const most = 10
		r.max = most
		var running sync.WaitGroup
		ask := func() {
			running.Go(func() {
				if err := r.check("slow"); err != nil {
					t.Error(err)
				}
			})
			synctest.Wait()
		}
		ask()
		for i := range 3 * most {
			if err := r.check(strconv.Itoa(i)); err != nil {
				t.Fatal(err)
			}
		}
		ask()
		close(hang)
		running.Wait()
		ask()
		running.Wait()
		if slow != 1 {
			t.Errorf("%d requests for one token", slow)
		}
	})
}

func TestCloseEndsRequests(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &apiServer{handle: says(201, good), delay: time.Second}
		r, log := newReviewer(t, s)
		var running sync.WaitGroup
		running.Go(func() {
			if err := r.check(canary); !errors.Is(err, verify.ErrUnavailable) {
				t.Error(err)
			}
		})
		synctest.Wait()
		began := time.Now()
		r.Close()
		running.Wait()
		r.Close()
		if err := r.check("another"); !errors.Is(err, verify.ErrUnavailable) || s.count() != 1 || time.Since(began) != 0 || log.Len() != 0 {
			t.Errorf("%v after %d requests and %s; %s", err, s.count(), time.Since(began), log)
		}
	})
}
