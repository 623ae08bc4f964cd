// Command http is an HTTP service that only holders of the token may call. The token
// comes from the file that APP_API_TOKEN_FILE names, which is read again when it
// changes, or from APP_API_TOKEN.
package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/tokenagent/tokenagent/agent"
	"github.com/tokenagent/tokenagent/pkg/verify"
	"github.com/tokenagent/tokenagent/pkg/verify/httpauth"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	a, err := agent.Start(ctx, agent.Config{})
	if err != nil {
		log.Fatal(err)
	}
	defer a.Close()
	metrics := prometheus.NewRegistry()
	metrics.MustRegister(a)

	mux := http.NewServeMux()
	mux.HandleFunc("GET /hello", func(w http.ResponseWriter, r *http.Request) {
		caller, _ := verify.FromContext(r.Context())
		fmt.Fprintf(w, "hello, holder of the %s token\n", caller.Slot())
	})
	mux.Handle("GET /metrics", promhttp.HandlerFor(metrics, promhttp.HandlerOpts{}))
	// Around the whole mux, so that no route is forgotten.
	protect := httpauth.Middleware(a, httpauth.Options{Exempt: []string{"GET /metrics"}})
	server := &http.Server{
		Addr: cmp.Or(os.Getenv("ADDR"), "127.0.0.1:8080"), Handler: protect(mux), ReadHeaderTimeout: 10 * time.Second,
	}
	go func() {
		if err := server.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
			log.Fatal(err)
		}
	}()
	<-ctx.Done()
	_ = server.Shutdown(context.Background()) // waits for the requests in flight
}
