// Command dapr-http is a Dapr pub/sub subscriber over HTTP that nobody but its
// own sidecar can call. It may start before its token is there.
package main

import (
	"cmp"
	"context"
	"errors"
	"io"
	"log"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/tokenagent/tokenagent/agent"
	"github.com/tokenagent/tokenagent/pkg/verify/httpauth"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	a, err := agent.Start(ctx, agent.Config{WaitForSource: true})
	if err != nil {
		log.Fatal(err)
	}
	defer a.Close()

	mux := http.NewServeMux()
	// daprd asks for this only once, after the first healthy answer. A refusal would
	// lose the subscription until daprd restarts, so GET /healthz fails without a token.
	mux.HandleFunc("GET /dapr/subscribe", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, `[{"pubsubname":"pubsub","topic":"orders","route":"/orders"}]`)
	})
	mux.HandleFunc("POST /orders", func(w http.ResponseWriter, r *http.Request) {
		event, _ := io.ReadAll(http.MaxBytesReader(w, r.Body, 1<<20))
		log.Printf("an order of %d bytes", len(event))
	})
	// daprd's health check carries no token (--enable-app-health-check).
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		if !a.Ready() {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	})
	protect := httpauth.Middleware(a, httpauth.Options{Exempt: []string{"GET /healthz"}})
	server := &http.Server{
		Addr: cmp.Or(os.Getenv("ADDR"), "127.0.0.1:6001"), Handler: protect(mux), ReadHeaderTimeout: 10 * time.Second,
	}
	go func() {
		if err := server.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
			log.Fatal(err)
		}
	}()
	<-ctx.Done()
	_ = server.Shutdown(context.Background()) // waits for the requests in flight
}
