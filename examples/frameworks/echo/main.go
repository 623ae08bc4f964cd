// Command echo protects all routes of an echo server. Pre runs before the router.
package main

import (
	"context"
	"log"
	"net/http"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/tokenagent/tokenagent/agent"
	"github.com/tokenagent/tokenagent/pkg/verify"
	"github.com/tokenagent/tokenagent/pkg/verify/httpauth"
)

func handler(v verify.Verifier) http.Handler {
	e := echo.New()
	e.Pre(echo.WrapMiddleware(httpauth.Middleware(v, httpauth.Options{})))
	e.GET("/hello", func(c echo.Context) error {
		caller, _ := verify.FromContext(c.Request().Context())
		return c.String(http.StatusOK, "hello, "+caller.Subject()+"\n")
	})
	return e
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
