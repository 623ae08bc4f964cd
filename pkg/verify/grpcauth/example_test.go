package grpcauth_test

import (
	"context"
	"fmt"
	"net"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	testpb "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/test/bufconn"

	"github.com/tokenagent/tokenagent/pkg/verify"
	"github.com/tokenagent/tokenagent/pkg/verify/grpcauth"
)

// accept is the Verifier of the examples. A program uses an agent.Agent.
func accept(_ context.Context, token string) (*verify.Principal, error) {
	switch token {
	case "":
		return nil, verify.ErrNoToken
	case "an-example-of-a-token":
		return verify.NewPrincipal(verify.PrincipalConfig{Subject: "sidecar"}), nil
	}
	return nil, verify.ErrInvalidToken
}

// A server whose methods need a token, and whose health check does not.
func Example() {
	v, o := verify.VerifierFunc(accept), grpcauth.Options{}
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
	// a call with a token, by sidecar
}

func ExampleUnaryServerInterceptor() {
	intercept := grpcauth.UnaryServerInterceptor(verify.VerifierFunc(accept), grpcauth.Options{})
	handler := func(ctx context.Context, _ any) (any, error) {
		p, _ := verify.FromContext(ctx)
		return "hello " + p.Subject(), nil
	}
	for _, token := range []string{"an-example-of-a-token", "not-the-token"} {
		ctx := metadata.NewIncomingContext(context.Background(), metadata.Pairs("dapr-api-token", token))
		fmt.Println(intercept(ctx, nil, &grpc.UnaryServerInfo{FullMethod: "/orders.Orders/Place"}, handler))
	}
	// Output:
	// hello sidecar <nil>
	// <nil> rpc error: code = Unauthenticated desc = missing or invalid token
}
