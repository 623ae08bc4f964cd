package grpcauth_test

import (
	"context"
	"fmt"
	"net"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	testpb "google.golang.org/grpc/interop/grpc_testing"

	"github.com/tokenagent/tokenagent/pkg/verify/grpcauth"
)

// exampleSource is the TokenSource of the examples. A program uses an agent.Agent.
type exampleSource struct{}

func (exampleSource) Token() (string, error) { return "an-example-of-a-token", nil }

// A client that sends the current token with each call.
func ExamplePerRPCCredentials() {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Println(err)
		return
	}
	server := grpc.NewServer(grpc.UnaryInterceptor(grpcauth.UnaryServerInterceptor(accepted, grpcauth.Options{})))
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
	// Output: static <nil>
}

// A call whose token the server no longer accepts is sent once more, with the token
// that the source returns by then.
func ExampleUnaryClientInterceptor() {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Println(err)
		return
	}
	server := grpc.NewServer(grpc.UnaryInterceptor(grpcauth.UnaryServerInterceptor(accepted, grpcauth.Options{})))
	defer server.Stop()
	testpb.RegisterTestServiceServer(server, service{})
	go func() { _ = server.Serve(listener) }()

	source := &rotatingSource{tokens: []string{"the-token-before-that", "an-example-of-a-token"}}
	addr := listener.Addr().String()
	conn, err := grpc.NewClient(addr,
		grpc.WithTransportCredentials(insecure.NewCredentials()), // within this machine
		grpc.WithPerRPCCredentials(grpcauth.PerRPCCredentials(source, grpcauth.CredentialsOptions{Hosts: []string{addr}})),
		grpc.WithUnaryInterceptor(grpcauth.UnaryClientInterceptor()))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer conn.Close()
	resp, err := testpb.NewTestServiceClient(conn).UnaryCall(context.Background(), &testpb.SimpleRequest{})
	fmt.Println(string(resp.GetPayload().GetBody()), err)
	// Output: static <nil>
}

// A rotatingSource returns its tokens in turn, and then the last one.
type rotatingSource struct {
	mu     sync.Mutex
	tokens []string
}

func (s *rotatingSource) Token() (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	token := s.tokens[0]
	if len(s.tokens) > 1 {
		s.tokens = s.tokens[1:]
	}
	return token, nil
}

func ExampleOptions_Validate() {
	fmt.Println(grpcauth.Options{Headers: []string{"token-bin"}, Exempt: []string{"/orders.Orders"}}.Validate())
	// Output:
	// grpcauth: Headers[0]: gRPC reserves keys that begin with grpc- or end in -bin
	// grpcauth: Exempt[0]: not a full method such as /package.Service/Method
}

func ExampleCredentialsOptions_Validate() {
	fmt.Println(grpcauth.CredentialsOptions{Hosts: []string{"dns:///orders.internal:8443"}, Header: "token-bin"}.Validate())
	// Output:
	// grpcauth: Header: gRPC reserves keys that begin with grpc- or end in -bin
	// Hosts[0] is not a host or host:port; leave out scheme, user and path, put an IPv6 address in brackets, write a name in ASCII (xn--)
}
