package app

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"testing"
	"time"

	"github.com/tokenagent/tokenagent/test/e2e/internal/process"
	"github.com/tokenagent/tokenagent/test/e2e/internal/sidecar"
)

// ServeHTTP runs an app for daprd's HTTP protocol behind guard (nil for none)
// until the test ends, and returns its port. healthy decides the answer of
// GET /healthz.
func ServeHTTP(tb testing.TB, tally *Tally, guard func(http.Handler) http.Handler, healthy func() bool) int {
	tb.Helper()
	routes := tally.routes(tb, healthy)
	if guard != nil {
		routes = guard(routes)
	}
	listener := process.Listen(tb)
	server := &http.Server{Handler: tally.watchHTTP(routes), ReadHeaderTimeout: 10 * time.Second}
	go func() { _ = server.Serve(listener) }() // ends with Close
	tb.Cleanup(func() { _ = server.Close() })
	return process.Port(listener)
}

func (t *Tally) routes(tb testing.TB, healthy func() bool) http.Handler {
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
		_, _ = fmt.Fprintf(w, `[{"pubsubname":%q,"topic":%q,"route":"/messages"}]`, sidecar.PubSub, sidecar.Topic)
	})
	mux.HandleFunc("OPTIONS /"+sidecar.Cron, func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("POST /"+sidecar.Cron, func(http.ResponseWriter, *http.Request) { t.Ticks.Add(1) })
	mux.HandleFunc("POST /messages", func(_ http.ResponseWriter, r *http.Request) {
		var event struct{ Data string }
		if err := json.NewDecoder(r.Body).Decode(&event); err != nil {
			tb.Errorf("message is no CloudEvent with a string: %v", err)
			return
		}
		t.Messages.Add(event.Data)
	})
	mux.HandleFunc("POST /"+sidecar.Method, func(_ http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		id, errQuote := strconv.Unquote(string(body))
		if err != nil || errQuote != nil {
			tb.Errorf("call with a body that is no string: %v, %v", err, errQuote)
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

// watchHTTP stands before the guard.
func (t *Tally) watchHTTP(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		rec := &statusRecorder{ResponseWriter: w}
		next.ServeHTTP(rec, r.WithContext(begin(r.Context())))
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
