// Command grpc-server is a gRPC server with health and reflection. Calls of the health
// service need no token; reflection needs one.
package main

import (
	"context"
	"log"
	"net"

	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/reflection"

	"github.com/tokenagent/tokenagent/agent"
	"github.com/tokenagent/tokenagent/pkg/verify"
	"github.com/tokenagent/tokenagent/pkg/verify/grpcauth"
)

func server(v verify.Verifier) *grpc.Server {
	s := grpc.NewServer(
		grpc.UnaryInterceptor(grpcauth.UnaryServerInterceptor(v, grpcauth.Options{})),
		grpc.StreamInterceptor(grpcauth.StreamServerInterceptor(v, grpcauth.Options{})))
	healthpb.RegisterHealthServer(s, health.NewServer())
	reflection.Register(s)
	return s
}

func main() {
	a, err := agent.Start(context.Background(), agent.Config{})
	if err != nil {
		log.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:50051")
	if err != nil {
		log.Fatal(err)
	}
	log.Print(server(a).Serve(l))
}
