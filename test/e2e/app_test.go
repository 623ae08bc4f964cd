package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	commonv1 "github.com/dapr/dapr/pkg/proto/common/v1"
	runtimev1 "github.com/dapr/dapr/pkg/proto/runtime/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/anypb"
)

// An appTally is what an app received from daprd, over HTTP or gRPC. The zero value
// is ready.
type appTally struct {
	Messages idSet // handled, by id
	Calls    idSet // invocations handled, by id
	Ticks    atomic.Int64

	// Refused counts the refusals of a guard in front of the handlers.
	Refused atomic.Int64
	// TokenSeen counts the requests that reached a handler with a token header.
	TokenSeen atomic.Int64

	mark      atomic.Pointer[time.Time] // nil when none
	sinceMark atomic.Int64
	latest    atomic.Int64 // of those since the mark, in nanoseconds after it
}

// Mark begins to count the handled requests that begin at t or later.
func (t *appTally) Mark(at time.Time) {
	t.sinceMark.Store(0)
	t.latest.Store(0)
	t.mark.Store(&at)
}

// SinceMark is the number of handled requests that began at the mark or later,
// and how long after it the last of them began.
func (t *appTally) SinceMark() (n int64, latest time.Duration) {
	return t.sinceMark.Load(), time.Duration(t.latest.Load())
}

// Unmark ends the count.
func (t *appTally) Unmark() { t.mark.Store(nil) }

type begunKey struct{}

// withBegin remembers when a request came, before any guard looked at it.
func withBegin(ctx context.Context) context.Context {
	return context.WithValue(ctx, begunKey{}, time.Now())
}

// handled counts a request that reached its handler.
func (t *appTally) handled(ctx context.Context) {
	begun, ok := ctx.Value(begunKey{}).(time.Time)
	mark := t.mark.Load()
	if mark != nil && (!ok || !begun.Before(*mark)) {
		t.sinceMark.Add(1)
		t.latest.Store(int64(begun.Sub(*mark)))
	}
}

// serveHTTPApp runs an app for daprd's HTTP protocol behind guard (nil for none)
// until the test ends, and returns its port. healthy decides the answer of
// GET /healthz.
func serveHTTPApp(tb testing.TB, tally *appTally, guard func(http.Handler) http.Handler, healthy func() bool) int {
	tb.Helper()
	routes := tally.routes(tb, healthy)
	if guard != nil {
		routes = guard(routes)
	}
	listener := listen(tb)
	server := &http.Server{Handler: tally.watchHTTP(routes), ReadHeaderTimeout: 10 * time.Second}
	go func() { _ = server.Serve(listener) }() // ends with Close
	tb.Cleanup(func() { _ = server.Close() })
	return portOf(listener)
}

func (t *appTally) routes(tb testing.TB, healthy func() bool) http.Handler {
	tb.Helper()
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		if !healthy() {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	})
	mux.HandleFunc("GET /dapr/config", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "{}")
	})
	mux.HandleFunc("GET /dapr/subscribe", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = fmt.Fprintf(w, `[{"pubsubname":%q,"topic":%q,"route":"/messages"}]`, pubSub, topic)
	})
	mux.HandleFunc("OPTIONS /"+cronBinding, func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("POST /"+cronBinding, func(http.ResponseWriter, *http.Request) { t.Ticks.Add(1) })
	mux.HandleFunc("POST /messages", func(_ http.ResponseWriter, r *http.Request) {
		var event struct{ Data string }
		if err := json.NewDecoder(r.Body).Decode(&event); err != nil {
			tb.Errorf("message is no CloudEvent with a string: %v", err)
			return
		}
		t.Messages.Add(event.Data)
	})
	mux.HandleFunc("POST /"+appMethod, func(_ http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return // the sender was killed; the call is made again
		}
		id, err := strconv.Unquote(string(body))
		if err != nil {
			tb.Errorf("call with a body that is no string: %v", err)
			return
		}
		t.Calls.Add(id)
	})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/healthz" {
			t.handled(r.Context())
		}
		if r.Header.Get("Dapr-Api-Token") != "" {
			t.TokenSeen.Add(1)
		}
		mux.ServeHTTP(w, r)
	})
}

// watchHTTP goes before the guard.
func (t *appTally) watchHTTP(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		rec := &statusRecorder{ResponseWriter: w}
		next.ServeHTTP(rec, r.WithContext(withBegin(r.Context())))
		if rec.status >= 400 && r.URL.Path != "/healthz" {
			t.Refused.Add(1)
		}
	})
}

type statusRecorder struct {
	http.ResponseWriter
	status int
}

func (r *statusRecorder) WriteHeader(status int) {
	r.status = status
	r.ResponseWriter.WriteHeader(status)
}

// pastDaprd is the id that calls past daprd carry.
const pastDaprd = `"past-daprd"`

// callHTTPApp invokes the app at addr as daprd would. An answer that is neither
// success nor 401 is an error.
func callHTTPApp(ctx context.Context, addr, token string) (admitted bool, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+addr+"/"+appMethod, strings.NewReader(pastDaprd))
	if err != nil {
		return false, err
	}
	req.Header.Set("Dapr-Api-Token", token)
	req.Close = true
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return false, err
	}
	_ = resp.Body.Close()
	switch resp.StatusCode {
	case http.StatusOK:
		return true, nil
	case http.StatusUnauthorized:
		return false, nil
	}
	return false, statusError(resp.StatusCode)
}

// callGRPCApp invokes the app at addr as daprd would. An answer that is neither
// success nor Unauthenticated is an error.
func callGRPCApp(ctx context.Context, addr, token string) (admitted bool, err error) {
	conn, err := grpc.NewClient(addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return false, err
	}
	defer conn.Close()
	ctx = metadata.AppendToOutgoingContext(ctx, "dapr-api-token", token)
	_, err = runtimev1.NewAppCallbackClient(conn).OnInvoke(ctx, &commonv1.InvokeRequest{
		Method: appMethod,
		Data:   &anypb.Any{Value: []byte(pastDaprd)},
	})
	if status.Code(err) == codes.Unauthenticated {
		return false, nil
	}
	return err == nil, err
}
