// Command grpc is a gRPC service that only holders of the token may call. The token
// comes from the file that APP_API_TOKEN_FILE names, or from APP_API_TOKEN.
package main

import (
	"cmp"
	"context"
	"log"
	"net"
	"os"
	"os/signal"
	"syscall"

	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	testpb "google.golang.org/grpc/interop/grpc_testing"

	"github.com/tokenagent/tokenagent/agent"
	"github.com/tokenagent/tokenagent/pkg/verify"
	"github.com/tokenagent/tokenagent/pkg/verify/grpcauth"
)

// An echo stands for your own service.
type echo struct {
	testpb.UnimplementedTestServiceServer
}

func (echo) UnaryCall(ctx context.Context, r *testpb.SimpleRequest) (*testpb.SimpleResponse, error) {
	caller, _ := verify.FromContext(ctx)
	return &testpb.SimpleResponse{Payload: r.GetPayload(), Username: caller.Slot().String()}, nil
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	a, err := agent.Start(ctx, agent.Config{})
	if err != nil {
		log.Fatal(err)
	}
	defer a.Close()
	server := grpc.NewServer(
		grpc.ChainUnaryInterceptor(grpcauth.UnaryServerInterceptor(a, grpcauth.Options{})),
		grpc.ChainStreamInterceptor(grpcauth.StreamServerInterceptor(a, grpcauth.Options{})),
	)
	testpb.RegisterTestServiceServer(server, echo{})
	healthpb.RegisterHealthServer(server, health.NewServer()) // needs no token
	listener, err := net.Listen("tcp", cmp.Or(os.Getenv("ADDR"), "127.0.0.1:50051"))
	if err != nil {
		log.Fatal(err)
	}
	go func() {
		if err := server.Serve(listener); err != nil {
			log.Fatal(err)
		}
	}()
	<-ctx.Done()
	server.GracefulStop() // waits for the calls in flight
}
