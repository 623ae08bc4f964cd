// Command opentelemetry puts the caller on the span of each request, as the attribute
// enduser.id. A subject may be personal data, so nothing does this by default.
package main

import (
	"context"
	"log"
	"net/http"
	"time"

	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"

	"github.com/tokenagent/tokenagent/agent"
	"github.com/tokenagent/tokenagent/pkg/verify"
	"github.com/tokenagent/tokenagent/pkg/verify/httpauth"
)

func handler(v verify.Verifier) http.Handler {
	hello := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		caller, _ := verify.FromContext(r.Context())
		trace.SpanFromContext(r.Context()).SetAttributes(attribute.String("enduser.id", caller.Subject()))
	})
	// The span is outside, so that a refused request has one, too.
	return otelhttp.NewHandler(httpauth.Middleware(v, httpauth.Options{})(hello), "hello")
}

func main() {
	a, err := agent.Start(context.Background(), agent.Config{})
	if err != nil {
		log.Fatal(err)
	}
	defer a.Close()
	server := http.Server{Addr: "127.0.0.1:8080", Handler: handler(a), ReadHeaderTimeout: 10 * time.Second}
	log.Print(server.ListenAndServe())
}
