package grpcauth_test

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	testpb "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/test/bufconn"

	"github.com/tokenagent/tokenagent/agent"
	"github.com/tokenagent/tokenagent/pkg/verify"
	"github.com/tokenagent/tokenagent/pkg/verify/grpcauth"
)

// accepted is the Verifier of the examples. A program uses an agent.Agent.
var accepted = verify.Static("an-example-of-a-token")

// A server whose methods need a token, and whose health check does not.
func Example() {
	v, o := accepted, grpcauth.Options{}
	server := grpc.NewServer(
		grpc.ChainUnaryInterceptor(grpcauth.UnaryServerInterceptor(v, o)),
		grpc.ChainStreamInterceptor(grpcauth.StreamServerInterceptor(v, o)),
	)
	defer server.Stop()
	healthpb.RegisterHealthServer(server, health.NewServer())
	testpb.RegisterTestServiceServer(server, service{})

	network := bufconn.Listen(1 << 16)
	go func() { _ = server.Serve(network) }()
	conn, err := grpc.NewClient("passthrough:///app",
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return network.DialContext(ctx) }))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer conn.Close()

	ctx := context.Background()
	probe, _ := healthpb.NewHealthClient(conn).Check(ctx, &healthpb.HealthCheckRequest{})
	fmt.Println("a probe without a token:", probe.GetStatus())

	client := testpb.NewTestServiceClient(conn)
	_, err = client.UnaryCall(ctx, &testpb.SimpleRequest{})
	fmt.Println("a call without a token:", err)

	ctx = metadata.AppendToOutgoingContext(ctx, "dapr-api-token", "an-example-of-a-token")
	resp, _ := client.UnaryCall(ctx, &testpb.SimpleRequest{})
	fmt.Println("a call with a token, by", string(resp.GetPayload().GetBody()))
	// Output:
	// a probe without a token: SERVING
	// a call without a token: rpc error: code = Unauthenticated desc = missing or invalid token
	// a call with a token, by static
}

// The interceptor without a server around it, as a test of a handler may use it.
func ExampleUnaryServerInterceptor() {
	intercept := grpcauth.UnaryServerInterceptor(accepted, grpcauth.Options{})
	handler := func(ctx context.Context, _ any) (any, error) {
		p, _ := verify.FromContext(ctx)
		return "hello " + p.Subject(), nil
	}
	for _, token := range []string{"an-example-of-a-token", "not-the-token"} {
		ctx := metadata.NewIncomingContext(context.Background(), metadata.Pairs("dapr-api-token", token))
		fmt.Println(intercept(ctx, nil, &grpc.UnaryServerInfo{FullMethod: "/orders.Orders/Place"}, handler))
	}
	// Output:
	// hello static <nil>
	// <nil> rpc error: code = Unauthenticated desc = missing or invalid token
}

// A server that ends its streams when their token is revoked. The Verifier must be
// able to tell, as an agent.Agent is.
func ExampleStreamServerInterceptor() {
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = os.RemoveAll(dir) }()
	path := filepath.Join(dir, "token")
	if err := os.WriteFile(path, []byte("an-example-of-a-token\n"), 0o600); err != nil {
		fmt.Println(err)
		return
	}
	a, err := agent.Start(context.Background(), agent.Config{TokenFile: path, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer a.Close()

	server := grpc.NewServer(grpc.ChainStreamInterceptor(
		grpcauth.StreamServerInterceptor(a, grpcauth.Options{EndRevokedStreams: true})))
	defer server.Stop()
	testpb.RegisterTestServiceServer(server, service{})
	network := bufconn.Listen(1 << 16)
	go func() { _ = server.Serve(network) }()
	conn, err := grpc.NewClient("passthrough:///app",
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return network.DialContext(ctx) }))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer conn.Close()

	ctx := metadata.AppendToOutgoingContext(context.Background(), "dapr-api-token", "an-example-of-a-token")
	stream, err := testpb.NewTestServiceClient(conn).FullDuplexCall(ctx)
	if err != nil {
		fmt.Println(err)
		return
	}
	_ = stream.Send(&testpb.StreamingOutputCallRequest{})
	_, err = stream.Recv()
	fmt.Println("before:", err)
	if err := a.Revoke(verify.Digest("an-example-of-a-token")); err != nil {
		fmt.Println(err)
		return
	}
	_, err = stream.Recv()
	fmt.Println("after:", err)
	// Output:
	// before: <nil>
	// after: rpc error: code = Unauthenticated desc = missing or invalid token
}
