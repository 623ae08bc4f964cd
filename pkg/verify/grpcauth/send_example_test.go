package grpcauth_test

import (
	"context"
	"fmt"
	"net"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	testpb "google.golang.org/grpc/interop/grpc_testing"

	"github.com/tokenagent/tokenagent/pkg/verify"
	"github.com/tokenagent/tokenagent/pkg/verify/grpcauth"
)

// exampleSource stands for an agent.Agent, which is a TokenSource too.
type exampleSource struct{}

func (exampleSource) Token() (string, error) { return "an-example-of-a-token", nil }

// A client whose calls carry the current token, and are tried once more where
// it was superseded on the way.
func ExamplePerRPCCredentials() {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Println(err)
		return
	}
	server := grpc.NewServer(grpc.UnaryInterceptor(grpcauth.UnaryServerInterceptor(verify.VerifierFunc(accept), grpcauth.Options{})))
	defer server.Stop()
	testpb.RegisterTestServiceServer(server, service{})
	go func() { _ = server.Serve(listener) }()

	addr := listener.Addr().String() // such as "orders.internal:8443", over TLS
	conn, err := grpc.NewClient(addr,
		grpc.WithTransportCredentials(insecure.NewCredentials()), // within this machine
		grpc.WithPerRPCCredentials(grpcauth.PerRPCCredentials(exampleSource{}, grpcauth.CredentialsOptions{Hosts: []string{addr}})),
		grpc.WithUnaryInterceptor(grpcauth.UnaryClientInterceptor()))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer conn.Close()
	resp, err := testpb.NewTestServiceClient(conn).UnaryCall(context.Background(), &testpb.SimpleRequest{})
	fmt.Println(string(resp.GetPayload().GetBody()), err)
	// Output: sidecar <nil>
}

func ExampleCredentialsOptions_Validate() {
	fmt.Println(grpcauth.CredentialsOptions{Hosts: []string{"dns:///orders.internal:8443"}, Header: "token-bin"}.Validate())
	// Output:
	// grpcauth: Header: gRPC keeps keys that begin with grpc- or end in -bin for itself
	// grpcauth: Hosts[0] is no host and no host:port; leave out scheme, user and path, put an IPv6 address in brackets, write a name in ASCII (xn--)
}
