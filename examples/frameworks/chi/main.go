// Command chi protects all routes of a chi router.
package main

import (
	"context"
	"fmt"
	"log"
	"net/http"
	"time"

	"github.com/go-chi/chi/v5"

	"github.com/tokenagent/tokenagent/agent"
	"github.com/tokenagent/tokenagent/pkg/verify"
	"github.com/tokenagent/tokenagent/pkg/verify/httpauth"
)

func handler(v verify.Verifier) http.Handler {
	r := chi.NewRouter()
	r.Use(httpauth.Middleware(v, httpauth.Options{})) // before the first route
	r.Get("/hello", func(w http.ResponseWriter, r *http.Request) {
		caller, _ := verify.FromContext(r.Context())
		fmt.Fprintln(w, "hello,", caller.Subject())
	})
	return r
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
