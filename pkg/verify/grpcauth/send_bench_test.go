package grpcauth_test

import (
	"context"
	"net"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	testpb "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/peer"

	"github.com/tokenagent/tokenagent/pkg/verify/grpcauth"
)

// connected returns the context in which grpc asks for metadata.
func connected(ctx context.Context) context.Context {
	ctx = peer.NewContext(ctx, &peer.Peer{Addr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 50051}})
	return credentials.NewContextWithRequestInfo(ctx, credentials.RequestInfo{Method: "/a.B/C", AuthInfo: vague{}})
}

// BenchmarkCredentials measures the metadata of one call, without the call. Map is the
// minimum cost, because grpc needs a map.
func BenchmarkCredentials(b *testing.B) {
	b.Run("Map", func(b *testing.B) {
		var md map[string]string
		token := good
		b.ReportAllocs()
		for b.Loop() {
			md = map[string]string{"dapr-api-token": token}
		}
		_ = md
	})
	for _, c := range []struct{ name, header string }{{"Token", ""}, {"Bearer", "authorization"}} {
		b.Run(c.name, func(b *testing.B) {
			creds := grpcauth.PerRPCCredentials(static(good), grpcauth.CredentialsOptions{Hosts: []string{"127.0.0.1:50051"}, Header: c.header})
			ctx := connected(b.Context())
			b.ReportAllocs()
			for b.Loop() {
				if _, err := creds.GetRequestMetadata(ctx, "https://127.0.0.1:50051/a.B"); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkSend measures a whole call over loopback: without credentials, with them, and
// with the interceptor, too.
func BenchmarkSend(b *testing.B) {
	l := loopback(b)
	host(b, l)
	sent := sends(static(good), l.Addr().String())
	for _, c := range []struct {
		name string
		opts []grpc.DialOption
	}{
		{"Bare", nil},
		{"Credentials", []grpc.DialOption{sent}},
		{"Interceptor", []grpc.DialOption{sent, retrying}},
	} {
		b.Run(c.name, func(b *testing.B) {
			api := client(b, "passthrough:///"+l.Addr().String(), c.opts...)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := api.EmptyCall(b.Context(), &testpb.Empty{}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// TestCredentialsAllocations: a call allocates only the map and its content.
func TestCredentialsAllocations(t *testing.T) {
	creds := grpcauth.PerRPCCredentials(static(good), grpcauth.CredentialsOptions{Hosts: []string{"127.0.0.1:50051"}})
	ctx, uri := connected(t.Context()), []string{"https://127.0.0.1:50051/a.B"}
	if got := testing.AllocsPerRun(100, func() { _, _ = creds.GetRequestMetadata(ctx, uri...) }); got > 2 {
		t.Errorf("%v allocations, want at most 2", got)
	}
}
