package grpcauth_test

import (
	"context"
	"testing"

	"google.golang.org/grpc"
	testpb "google.golang.org/grpc/interop/grpc_testing"

	"github.com/tokenagent/tokenagent/pkg/verify"
	"github.com/tokenagent/tokenagent/pkg/verify/grpcauth"
)

func verifier(err error) verify.Verifier {
	p := principal(1)
	return verify.VerifierFunc(func(context.Context, string) (*verify.Principal, error) {
		if err != nil {
			return nil, err
		}
		return p, nil
	})
}

func done(context.Context, any) (any, error) { return nil, nil }

// BenchmarkInterceptor measures the interceptor alone, without a real call.
func BenchmarkInterceptor(b *testing.B) {
	for _, c := range []struct {
		name string
		v    verify.Verifier
		o    grpcauth.Options
	}{
		{"Principal", verifier(nil), grpcauth.Options{}},
		{"WithoutPrincipal", verifier(nil), grpcauth.Options{WithoutPrincipal: true}},
		{"SecondKey", verifier(nil), grpcauth.Options{WithoutPrincipal: true, Headers: []string{"x-api-key", "dapr-api-token"}}},
		{"Refused", verifier(verify.ErrInvalidToken), grpcauth.Options{}},
	} {
		b.Run(c.name, func(b *testing.B) {
			intercept, ctx := grpcauth.UnaryServerInterceptor(c.v, c.o), incoming(b.Context(), good)
			info := &grpc.UnaryServerInfo{FullMethod: "/a.B/C"}
			b.ReportAllocs()
			for b.Loop() {
				_, _ = intercept(ctx, nil, info, done)
			}
		})
	}
}

// BenchmarkCall measures a whole call over loopback, with and without the interceptor.
func BenchmarkCall(b *testing.B) {
	for name, opts := range map[string][]grpc.ServerOption{
		"Bare":        nil,
		"Interceptor": {grpc.UnaryInterceptor(grpcauth.UnaryServerInterceptor(verifier(nil), grpcauth.Options{}))},
	} {
		b.Run(name, func(b *testing.B) {
			client, ctx := testpb.NewTestServiceClient(connect(b, opts...)), with(b.Context(), "dapr-api-token", good)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := client.EmptyCall(ctx, &testpb.Empty{}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// TestAllocations checks what the benchmarks show. One allocation is grpc's copy of
// the token's metadata, the other is the context that holds the Principal.
func TestAllocations(t *testing.T) {
	for name, c := range map[string]struct {
		v    verify.Verifier
		o    grpcauth.Options
		want float64
	}{
		"with the Principal":    {verifier(nil), grpcauth.Options{}, 2},
		"without the Principal": {verifier(nil), grpcauth.Options{WithoutPrincipal: true}, 1},
		"refused":               {verifier(verify.ErrExpiredToken), grpcauth.Options{}, 1},
	} {
		intercept, ctx := grpcauth.UnaryServerInterceptor(c.v, c.o), incoming(t.Context(), good)
		info := &grpc.UnaryServerInfo{FullMethod: "/a.B/C"}
		if got := testing.AllocsPerRun(100, func() { _, _ = intercept(ctx, nil, info, done) }); got != c.want {
			t.Errorf("%s: %v allocations, want %v", name, got, c.want)
		}
	}
}
