// Command dapr-grpc is a Dapr pub/sub subscriber over gRPC that nobody but its
// own sidecar can call.
package main

import (
	"cmp"
	"context"
	"log"
	"net"
	"os"
	"os/signal"
	"syscall"

	dapr "github.com/dapr/dapr/pkg/proto/runtime/v1"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/tokenagent/tokenagent/agent"
	"github.com/tokenagent/tokenagent/pkg/verify/grpcauth"
)

type subscriber struct {
	dapr.UnimplementedAppCallbackServer
}

// ListTopicSubscriptions is exempt by default: daprd calls it without a token.
func (subscriber) ListTopicSubscriptions(context.Context, *emptypb.Empty) (*dapr.ListTopicSubscriptionsResponse, error) {
	return &dapr.ListTopicSubscriptionsResponse{
		Subscriptions: []*dapr.TopicSubscription{{PubsubName: "pubsub", Topic: "orders"}},
	}, nil
}

func (subscriber) OnTopicEvent(_ context.Context, e *dapr.TopicEventRequest) (*dapr.TopicEventResponse, error) {
	log.Printf("an order of %d bytes", len(e.GetData()))
	return &dapr.TopicEventResponse{}, nil
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	a, err := agent.Start(ctx, agent.Config{})
	if err != nil {
		log.Fatal(err)
	}
	defer a.Close()
	server := grpc.NewServer(grpc.ChainUnaryInterceptor(grpcauth.UnaryServerInterceptor(a, grpcauth.Options{})))
	dapr.RegisterAppCallbackServer(server, subscriber{})
	listener, err := net.Listen("tcp", cmp.Or(os.Getenv("ADDR"), "127.0.0.1:6002"))
	if err != nil {
		log.Fatal(err)
	}
	go func() {
		if err := server.Serve(listener); err != nil {
			log.Fatal(err)
		}
	}()
	<-ctx.Done()
	server.GracefulStop() // waits for what is under way
}
