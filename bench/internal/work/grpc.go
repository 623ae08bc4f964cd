package work

import (
	"context"
	"errors"
	"net"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
)

// Method is the one whose calls are measured, as far as interceptors know.
const Method = "/orders.Orders/Place"

// Incoming returns the context that a server of grpc-go hands to its interceptors
// for a call with that token: all of it, its metadata, peer and connection, from a
// call that was made.
func Incoming(ctx context.Context, token string) (context.Context, error) {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	seen := make(chan context.Context, 1)
	s := grpc.NewServer(grpc.UnaryInterceptor(func(ctx context.Context, req any, _ *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
		seen <- ctx // what it holds outlives the call
		return next(ctx, req)
	}))
	healthpb.RegisterHealthServer(s, health.NewServer())
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	conn, err := grpc.NewClient(l.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err == nil {
		outgoing := metadata.AppendToOutgoingContext(ctx, Key, token, "authorization", "Bearer "+token,
			"traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
		_, err = healthpb.NewHealthClient(conn).Check(outgoing, &healthpb.HealthCheckRequest{})
		err = errors.Join(err, conn.Close())
	}
	s.Stop()
	if err := errors.Join(err, <-served); err != nil {
		return nil, err
	}
	return <-seen, nil
}

// Handle is a handler that does nothing.
func Handle(context.Context, any) (any, error) { return nil, nil }

// Info is what an interceptor is told of a call.
func Info() *grpc.UnaryServerInfo { return &grpc.UnaryServerInfo{FullMethod: Method} }
