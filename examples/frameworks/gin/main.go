// Command gin protects all routes of a gin engine. The middleware is around the engine, so
// that a path without a route is refused, too.
package main

import (
	"context"
	"log"
	"net/http"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/tokenagent/tokenagent/agent"
	"github.com/tokenagent/tokenagent/pkg/verify"
	"github.com/tokenagent/tokenagent/pkg/verify/httpauth"
)

func handler(v verify.Verifier) http.Handler {
	r := gin.New()
	r.GET("/hello", func(c *gin.Context) {
		caller, _ := verify.FromContext(c.Request.Context())
		c.String(http.StatusOK, "hello, %s\n", caller.Subject())
	})
	return httpauth.Middleware(v, httpauth.Options{})(r)
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
