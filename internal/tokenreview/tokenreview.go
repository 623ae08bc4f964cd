// Package tokenreview asks the API server of Kubernetes whether a service account token is
// still valid: a TokenReview (authentication.k8s.io/v1). The API server also knows what the
// signature and the claims of a token cannot tell, such as that its pod was deleted.
package tokenreview

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/tokenagent/tokenagent/pkg/verify"
)

const (
	// remember is how long an answer counts, from the moment when the request was made. It
	// is a second less than the 10 s that are promised, because the API server also takes a
	// while to see that something was deleted.
	remember = 9 * time.Second
	// retry is how long a failed request counts, so that a broken API server gets at most
	// one request a second for each token.
	retry = time.Second
	// timeout limits a request, with the wait for a place.
	timeout = 5 * time.Second
	// maxRequests is the number of requests that run at once.
	maxRequests = 16
	// maxPending is the number of requests that run or wait for a place. Each takes a
	// goroutine and keeps its token, so a flood of tokens must not add more.
	maxPending = 1024
	// maxAnswers is the number of remembered answers. They take about 4 MB.
	maxAnswers = 20_000
)

// Options configure a Reviewer.
type Options struct {
	// Transport makes the requests. It adds the credentials that they need.
	Transport http.RoundTripper
	// URL is the URL of the API server's TokenReviews.
	URL string
	// Audiences are the accepted audiences.
	Audiences []string
	// Logger receives failures: once when requests begin to fail, or fail in another way,
	// and once when they succeed again.
	Logger *slog.Logger
}

// A Reviewer checks tokens and remembers the answers for at most 10 s. Use New; the zero
// Reviewer is not usable. All methods are safe for concurrent use.
type Reviewer struct {
	o      Options
	client http.Client
	ctx    context.Context //nolint:containedctx // of all requests: it ends with Close
	cancel context.CancelFunc
	places chan struct{} // one value for each running request
	max    int           // maxAnswers, except in tests

	running sync.WaitGroup // requests

	mu     sync.Mutex
	closed bool
	// pending holds the answers that are not there yet, at most maxPending.
	pending map[verify.ID]*answer
	// fresh and old hold the others. At the latest after remember, or when fresh is full,
	// fresh becomes old and the answers of old are forgotten.
	fresh, old map[verify.ID]*answer
	since      time.Time // when fresh was empty
	failure    string    // of the last request; "" if it succeeded
	counts     Counts
}

// Counts are the numbers of finished requests by their result. Failed includes those that
// were not made because too many were pending.
type Counts struct{ Authenticated, Refused, Failed uint64 }

// An answer is the result of one request. done guards the other fields: they do not change
// once it is closed.
type answer struct {
	done  chan struct{}
	err   error
	until time.Time
}

// New returns a Reviewer. The caller must call Close.
func New(o Options) *Reviewer {
	r := &Reviewer{o: o, max: maxAnswers, places: make(chan struct{}, maxRequests)}
	r.pending, r.fresh = make(map[verify.ID]*answer), make(map[verify.ID]*answer)
	r.client = http.Client{Transport: o.Transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	r.ctx, r.cancel = context.WithCancel(context.Background())
	return r
}

var (
	errRefused = fmt.Errorf("%w: the API server of Kubernetes refuses it; its pod, its service account or its node may be deleted", verify.ErrInvalidToken)
	errFailed  = fmt.Errorf("%w: the API server of Kubernetes did not say whether the token is valid", verify.ErrUnavailable)
)

// Check returns nil if the API server has accepted the token in the last 10 s. Otherwise
// Check asks it; concurrent calls for one token make one request. The error wraps
// [verify.ErrInvalidToken] if the API server refuses the token, and [verify.ErrUnavailable]
// if it gives no answer, too many requests wait already, or ctx ends. id identifies the token among all tokens.
func (r *Reviewer) Check(ctx context.Context, id verify.ID, token string) error {
	a := r.answerTo(id, token) //nolint:contextcheck // other callers may wait for the same request
	if a == nil {
		return errFailed
	}
	select {
	case <-a.done:
		return a.err
	default:
	}
	select {
	case <-a.done:
		return a.err
	case <-ctx.Done():
		return errFailed
	}
}

// answerTo returns the answer that counts for the token. If there is none, answerTo begins a
// request. It returns nil if too many are pending, and after Close.
func (r *Reviewer) answerTo(id verify.ID, token string) *answer {
	r.mu.Lock()
	defer r.mu.Unlock()
	if a := r.pending[id]; a != nil {
		return a
	}
	a := r.fresh[id]
	if a == nil {
		a = r.old[id]
	}
	if a != nil && time.Now().Before(a.until) {
		return a
	}
	if r.closed {
		return nil
	}
	if len(r.pending) >= maxPending {
		r.counts.Failed++
		return nil
	}
	a = &answer{done: make(chan struct{})}
	r.pending[id] = a
	r.running.Go(func() { r.ask(id, a, token) })
	return a
}

// ask makes the request and finishes a.
func (r *Reviewer) ask(id verify.ID, a *answer, token string) {
	ctx, cancel := context.WithTimeout(r.ctx, timeout)
	defer cancel()
	began, authenticated, err := r.inPlace(ctx, token)
	r.record(authenticated, err)
	switch {
	case err != nil:
		a.err, a.until = errFailed, time.Now().Add(retry)
	case !authenticated:
		a.err, a.until = errRefused, began.Add(remember)
	default:
		a.until = began.Add(remember)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	if len(r.fresh) >= r.max/2 || now.Sub(r.since) >= remember {
		r.fresh, r.old, r.since = make(map[verify.ID]*answer), r.fresh, now
	}
	delete(r.pending, id)
	r.fresh[id] = a
	close(a.done)
}

// inPlace makes the request as soon as there is a place, and returns when that was.
func (r *Reviewer) inPlace(ctx context.Context, token string) (began time.Time, authenticated bool, err error) {
	select {
	case r.places <- struct{}{}:
		defer func() { <-r.places }()
	case <-ctx.Done():
	}
	if ctx.Err() != nil {
		return time.Time{}, false, errors.New("too many requests wait for the API server; check its load and the network")
	}
	began = time.Now()
	authenticated, err = r.request(ctx, token)
	return began, authenticated, err
}

// record counts and logs the result of a request.
func (r *Reviewer) record(authenticated bool, err error) {
	if r.ctx.Err() != nil { // closed; the result may be caused by that
		return
	}
	failure := ""
	if err != nil {
		failure = err.Error()
	}
	r.mu.Lock()
	before := r.failure
	r.failure = failure
	switch {
	case err != nil:
		r.counts.Failed++
	case authenticated:
		r.counts.Authenticated++
	default:
		r.counts.Refused++
	}
	r.mu.Unlock()
	switch {
	case failure == before:
	case err != nil:
		r.o.Logger.Warn("token reviews fail, so tokens are refused as unavailable", "error", failure)
	default:
		r.o.Logger.Info("token reviews succeed again")
	}
}

// Failure returns the error of the last request with its fix, or "" if it succeeded.
func (r *Reviewer) Failure() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.failure
}

// Counts returns the numbers of finished requests.
func (r *Reviewer) Counts() Counts {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.counts
}

// Close ends all requests and waits for them. Then Check makes no more requests.
func (r *Reviewer) Close() {
	r.mu.Lock()
	r.closed = true
	r.mu.Unlock()
	r.cancel()
	r.running.Wait()
	r.client.CloseIdleConnections()
}
