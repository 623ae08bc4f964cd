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

// Method is the full method name that interceptors see.
const Method = "/orders.Orders/Place"

// Incoming makes a real call with the token, and returns the context that the grpc-go
// server passes to its interceptors, with metadata, peer and connection.
func Incoming(ctx context.Context, token string) (context.Context, error) {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	seen := make(chan context.Context, 1)
	s := grpc.NewServer(grpc.UnaryInterceptor(func(ctx context.Context, req any, _ *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
		seen <- ctx // its values stay usable after the call
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

// Info returns the call information that an interceptor gets.
func Info() *grpc.UnaryServerInfo { return &grpc.UnaryServerInfo{FullMethod: Method} }
