package httpauth_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"github.com/tokenagent/tokenagent/internal/rotation"
	"github.com/tokenagent/tokenagent/pkg/verify"
	"github.com/tokenagent/tokenagent/pkg/verify/httpauth"
)

func TestMain(m *testing.M) {
	// net/http closes a connection half a second after an answer that came before the
	// end of the body.
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("net/http.(*conn).closeWriteAndWait"))
}

// The tokens that a fake knows. Each contains "canary", which must not appear in any
// response.
const (
	good        = "canary-good-0123456789"
	old         = "canary-old-0123456789"
	ciToken     = "canary-named-0123456789"
	expired     = "canary-expired-0123456789"
	revoked     = "canary-revoked-0123456789"
	unavailable = "canary-unavailable-0123456789"
	broken      = "canary-broken-0123456789"
)

var (
	current  = verify.NewPrincipal(verify.PrincipalConfig{Subject: "token", Method: verify.MethodToken, Slot: rotation.Current})
	previous = verify.NewPrincipal(verify.PrincipalConfig{Subject: "token", Method: verify.MethodToken, Slot: rotation.Previous})
	ofClient = verify.NewPrincipal(verify.PrincipalConfig{Subject: "ci", Client: "ci", Method: verify.MethodToken, Slot: rotation.Current})
)

// A fake is a Verifier that records the tokens that it was asked about and the uses that
// it was told of.
type fake struct {
	mu       sync.Mutex
	asked    []string
	recorded []string
}

func (f *fake) Verify(_ context.Context, token string) (*verify.Principal, error) {
	f.mu.Lock()
	f.asked = append(f.asked, token)
	f.mu.Unlock()
	switch token {
	case good:
		return current, nil
	case old:
		return previous, nil
	case ciToken:
		return ofClient, nil
	case "":
		return nil, fmt.Errorf("fake: %w", verify.ErrNoToken)
	case expired:
		return nil, verify.ErrExpiredToken
	case revoked:
		return nil, fmt.Errorf("fake: %w", verify.ErrRevokedToken)
	case unavailable:
		return nil, verify.ErrUnavailable
	case broken:
		return nil, fmt.Errorf("fake: %w", context.DeadlineExceeded)
	}
	return nil, verify.ErrInvalidToken
}

func (f *fake) RecordPreviousUse(p *verify.Principal, remote string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.recorded = append(f.recorded, p.Slot().String()+" "+remote)
}

// take returns the tokens that f was asked about since the last take.
func (f *fake) take() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	asked := f.asked
	f.asked = nil
	return asked
}

// do sends r through a Middleware, and returns the response and the request as
// the inner handler saw it, nil if it was not reached.
func do(v verify.Verifier, o httpauth.Options, r *http.Request) (*httptest.ResponseRecorder, *http.Request) {
	var inner *http.Request
	h := httpauth.Middleware(v, o)(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		inner = r
		w.WriteHeader(http.StatusNoContent)
	}))
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w, inner
}

// get returns a request for path with the header fields given as pairs.
func get(path string, fields ...string) *http.Request {
	r := httptest.NewRequest(http.MethodGet, path, http.NoBody)
	for i := 0; i < len(fields); i += 2 {
		r.Header.Add(fields[i], fields[i+1])
	}
	return r
}

// grpcRequest returns a request for path that a server takes for gRPC.
func grpcRequest(path string, fields ...string) *http.Request {
	r := get(path, fields...)
	r.Method, r.Proto, r.ProtoMajor, r.ProtoMinor = http.MethodPost, "HTTP/2.0", 2, 0
	r.Header.Set("Content-Type", "application/grpc")
	return r
}
