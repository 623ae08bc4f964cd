// Command dapr-go-sdk-grpc is an app of Dapr's go-sdk over gRPC that nobody but its
// own sidecar can call, through every rotation of the token.
package main

import (
	"cmp"
	"context"
	"errors"
	"log"
	"net"
	"os"
	"os/signal"
	"syscall"

	"github.com/dapr/go-sdk/service/common"
	daprd "github.com/dapr/go-sdk/service/grpc"
	"google.golang.org/grpc"

	"github.com/tokenagent/tokenagent/agent"
	"github.com/tokenagent/tokenagent/pkg/verify/grpcauth"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	listener, err := net.Listen("tcp", cmp.Or(os.Getenv("ADDR"), "127.0.0.1:6004"))
	if err != nil {
		log.Fatal(err)
	}
	if err := run(ctx, listener); err != nil {
		log.Fatal(err)
	}
}

// run serves on listener until ctx ends.
func run(ctx context.Context, listener net.Listener) error {
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
	s, err := newService(listener, a)
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
	return <-ended
}

// newService returns the app behind the interceptors. NewService of the SDK takes no
// server options, so it has to be NewServiceWithListener.
func newService(listener net.Listener, a *agent.Agent) (common.Service, error) {
	s := daprd.NewServiceWithListener(listener,
		grpc.ChainUnaryInterceptor(grpcauth.UnaryServerInterceptor(a, grpcauth.Options{})),
		grpc.ChainStreamInterceptor(grpcauth.StreamServerInterceptor(a, grpcauth.Options{})))
	return s, errors.Join(
		// daprd asks nothing of the app before this is healthy, if it runs with
		// --enable-app-health-check. The call carries no token and is exempt by default.
		s.AddHealthCheckHandler("", func(context.Context) error {
			if !a.Ready() {
				return errors.New("no token has been loaded yet")
			}
			return nil
		}),
		s.AddServiceInvocationHandler("hello", func(context.Context, *common.InvocationEvent) (*common.Content, error) {
			return &common.Content{Data: []byte("hello"), ContentType: "text/plain"}, nil
		}),
		s.AddTopicEventHandler(&common.Subscription{PubsubName: "pubsub", Topic: "orders", Route: "/orders"},
			func(_ context.Context, e *common.TopicEvent) (retry bool, err error) {
				log.Printf("an order of %d bytes", len(e.RawData))
				return false, nil
			}),
	)
}
