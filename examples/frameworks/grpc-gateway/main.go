// Command grpc-gateway protects the HTTP side of a grpc-gateway. The gateway passes the
// token on, so that the gRPC server behind it can check it again.
package main

import (
	"context"
	"log"
	"net/http"
	"time"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"

	"github.com/tokenagent/tokenagent/agent"
	"github.com/tokenagent/tokenagent/pkg/verify"
	"github.com/tokenagent/tokenagent/pkg/verify/httpauth"
)

func handler(v verify.Verifier, register func(*runtime.ServeMux) error) (http.Handler, error) {
	mux := runtime.NewServeMux(runtime.WithIncomingHeaderMatcher(func(name string) (string, bool) {
		if name == "Dapr-Api-Token" {
			return "dapr-api-token", true
		}
		return runtime.DefaultHeaderMatcher(name)
	}))
	return httpauth.Middleware(v, httpauth.Options{KeepHeader: true})(mux), register(mux)
}

func main() {
	a, err := agent.Start(context.Background(), agent.Config{})
	if err != nil {
		log.Fatal(err)
	}
	h, err := handler(a, func(*runtime.ServeMux) error { return nil }) // pb.RegisterXHandler(ctx, mux, conn)
	if err != nil {
		log.Fatal(err)
	}
	server := http.Server{Addr: "127.0.0.1:8080", Handler: h, ReadHeaderTimeout: 10 * time.Second}
	log.Print(server.ListenAndServe())
}
