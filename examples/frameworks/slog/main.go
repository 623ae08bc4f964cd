// Command slog writes the name of the caller into every log line of a request.
package main

import (
	"context"
	"log"
	"log/slog"
	"net/http"
	"os"
	"time"

	"github.com/tokenagent/tokenagent/agent"
	"github.com/tokenagent/tokenagent/pkg/verify"
	"github.com/tokenagent/tokenagent/pkg/verify/httpauth"
)

// A callerHandler adds the caller.
type callerHandler struct{ slog.Handler }

func (h callerHandler) Handle(ctx context.Context, r slog.Record) error {
	if caller, ok := verify.FromContext(ctx); ok {
		r.AddAttrs(slog.String("caller", caller.Subject()), slog.String("slot", caller.Slot().String()))
	}
	return h.Handler.Handle(ctx, r)
}

func handler(v verify.Verifier) http.Handler {
	order := func(_ http.ResponseWriter, r *http.Request) { slog.InfoContext(r.Context(), "placed") }
	return httpauth.Middleware(v, httpauth.Options{})(http.HandlerFunc(order))
}

func main() {
	slog.SetDefault(slog.New(callerHandler{slog.NewJSONHandler(os.Stderr, nil)}))
	a, err := agent.Start(context.Background(), agent.Config{})
	if err != nil {
		log.Fatal(err)
	}
	defer a.Close()
	server := http.Server{Addr: "127.0.0.1:8080", Handler: handler(a), ReadHeaderTimeout: 10 * time.Second}
	log.Print(server.ListenAndServe())
}
