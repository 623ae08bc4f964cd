// Command dapr-go-sdk-http is an app of Dapr's go-sdk over HTTP that nobody but its
// own sidecar can call, through every rotation of the token.
package main

import (
	"cmp"
	"context"
	"errors"
	"log"
	"net/http"
	"os"
	"os/signal"
	"syscall"

	"github.com/dapr/go-sdk/service/common"
	daprd "github.com/dapr/go-sdk/service/http"
	"github.com/go-chi/chi/v5"

	"github.com/tokenagent/tokenagent/agent"
	"github.com/tokenagent/tokenagent/pkg/verify/httpauth"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, cmp.Or(os.Getenv("ADDR"), "127.0.0.1:6003")); err != nil {
		log.Fatal(err)
	}
}

// run serves at addr until ctx ends.
func run(ctx context.Context, addr string) error {
	// The SDK reads this variable once, when the service is made, and compares every
	// later token with it. The agent checks the tokens here, so the SDK must not.
	if err := os.Unsetenv(common.AppAPITokenEnvVar); err != nil {
		return err
	}
	a, err := agent.Start(ctx, agent.Config{WaitForSource: true}) // from APP_API_TOKEN_FILE
	if err != nil {
		return err
	}
	defer a.Close()
	s, err := newService(addr, a, httpauth.Options{Exempt: []string{"GET /healthz"}})
	if err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() { ended <- s.Start() }()
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
	}
	if err := s.GracefulStop(); err != nil {
		return err
	}
	if err := <-ended; !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// newService returns the app behind the middleware.
func newService(addr string, a *agent.Agent, o httpauth.Options) (common.Service, error) {
	router := chi.NewRouter()
	router.Use(httpauth.Middleware(a, o)) // before every route, the SDK's own included
	s := daprd.NewServiceWithMux(addr, router)
	return s, errors.Join(
		// daprd asks nothing of the app before this is healthy, if it runs with
		// --enable-app-health-check.
		s.AddHealthCheckHandler("/healthz", func(context.Context) error {
			if !a.Ready() {
				return errors.New("no token has been loaded yet")
			}
			return nil
		}),
		s.AddServiceInvocationHandler("/hello", func(context.Context, *common.InvocationEvent) (*common.Content, error) {
			return &common.Content{Data: []byte("hello"), ContentType: "text/plain"}, nil
		}),
		s.AddTopicEventHandler(&common.Subscription{PubsubName: "pubsub", Topic: "orders", Route: "/orders"},
			func(_ context.Context, e *common.TopicEvent) (retry bool, err error) {
				log.Printf("an order of %d bytes", len(e.RawData))
				return false, nil
			}),
	)
}
