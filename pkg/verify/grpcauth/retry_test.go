package grpcauth_test

import (
	"context"
	"errors"
	"reflect"
	"sync/atomic"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	testpb "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/status"

	"github.com/tokenagent/tokenagent/pkg/verify/grpcauth"
)

var retrying = grpc.WithUnaryInterceptor(grpcauth.UnaryClientInterceptor())

// TestClientTriesOnceMore: the interceptor sends a call again only after Unauthenticated
// to a token that was superseded in the meantime.
func TestClientTriesOnceMore(t *testing.T) {
	const refused, ok = codes.Unauthenticated, codes.OK
	for name, c := range map[string]struct {
		tokens []string
		codes  []codes.Code // what the server answers
		sent   []string
		final  codes.Code
	}{
		"accepted":              {[]string{"one", "two"}, []codes.Code{ok}, []string{"one"}, ok},
		"superseded":            {[]string{"one", "two"}, []codes.Code{refused, ok}, []string{"one", "two"}, ok},
		"superseded, refused":   {[]string{"one", "two"}, []codes.Code{refused, refused}, []string{"one", "two"}, refused},
		"superseded twice":      {[]string{"one", "two", "two", "three"}, []codes.Code{refused, refused, ok}, []string{"one", "two"}, refused},
		"then something else":   {[]string{"one", "two"}, []codes.Code{refused, codes.Internal}, []string{"one", "two"}, codes.Internal},
		"the same token":        {[]string{"one"}, []codes.Code{refused, ok}, []string{"one"}, refused},
		"no token any more":     {[]string{"one", ""}, []codes.Code{refused, ok}, []string{"one"}, refused},
		"no token the next try": {[]string{"one", "two", ""}, []codes.Code{refused, ok}, []string{"one"}, codes.Unavailable},
		"forbidden":             {[]string{"one", "two"}, []codes.Code{codes.PermissionDenied, ok}, []string{"one"}, codes.PermissionDenied},
		"unavailable":           {[]string{"one", "two"}, []codes.Code{codes.Unavailable, ok}, []string{"one"}, codes.Unavailable},
	} {
		l, noted := loopback(t), &log{}
		var calls atomic.Int64
		host(t, l, append(noted.noting("dapr-api-token"), grpc.ChainUnaryInterceptor(func(ctx context.Context, req any, _ *grpc.UnaryServerInfo, h grpc.UnaryHandler) (any, error) {
			if code := c.codes[min(int(calls.Add(1)), len(c.codes))-1]; code != ok {
				return nil, status.Error(code, "as told")
			}
			return h(ctx, req)
		}))...)
		connect := func(opts ...grpc.DialOption) testpb.TestServiceClient {
			calls.Store(0)
			return client(t, "passthrough:///"+l.Addr().String(), append(opts, sends(tokens(c.tokens...), l.Addr().String()))...)
		}
		for how, opts := range map[string][]grpc.DialOption{
			"once":  {retrying},
			"twice": {retrying, grpc.WithChainUnaryInterceptor(grpcauth.UnaryClientInterceptor())},
		} {
			_, err := unary(t.Context(), connect(opts...))
			if got := noted.take(); status.Code(err) != c.final || !reflect.DeepEqual(got, c.sent) {
				t.Errorf("%s, interceptor there %s: %v after %q, want %v after %q", name, how, err, got, c.final, c.sent)
			}
		}
		// Streams are not tried again.
		_, _ = bidi(t.Context(), connect(retrying))
		if got := noted.take(); !reflect.DeepEqual(got, c.sent[:1]) {
			t.Errorf("%s: a stream was opened with %q", name, got)
		}
	}
}

// TestClientWithOtherCredentials: the interceptor does not send a call again if other
// credentials, or none, attached its token.
func TestClientWithOtherCredentials(t *testing.T) {
	l, noted := loopback(t), &log{}
	host(t, l, append(noted.noting("dapr-api-token"), grpc.ChainUnaryInterceptor(grpcauth.UnaryServerInterceptor(&fake{}, grpcauth.Options{})))...)
	target := "passthrough:///" + l.Addr().String()
	if _, err := unary(with(t.Context(), "dapr-api-token", "wrong"), client(t, target, retrying)); status.Code(err) != codes.Unauthenticated {
		t.Error(err)
	}
	if got := noted.take(); !reflect.DeepEqual(got, []string{"wrong"}) {
		t.Errorf("sent %q", got)
	}
	if _, err := unary(t.Context(), client(t, target, retrying, sends(tokens("one", "two"), "other.example", "localhost"))); status.Code(err) != codes.Unauthenticated {
		t.Error(err)
	}
	if got := noted.take(); len(got) != 0 {
		t.Errorf("sent %q", got)
	}
}

// TestClientRespectsTheContext: no call is sent again after its context has ended.
func TestClientRespectsTheContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	creds := grpcauth.PerRPCCredentials(tokens("one", "two"), grpcauth.CredentialsOptions{Hosts: []string{"localhost"}, AllowPlaintext: true})
	calls := 0
	invoke := func(ctx context.Context, _ string, _, _ any, _ *grpc.ClientConn, _ ...grpc.CallOption) error {
		calls++
		if _, err := creds.GetRequestMetadata(ctx, "https://localhost/a.B"); err != nil {
			t.Error(err)
		}
		cancel()
		return status.Error(codes.Unauthenticated, "")
	}
	if err := grpcauth.UnaryClientInterceptor()(ctx, "/a.B/C", nil, nil, nil, invoke); status.Code(err) != codes.Unauthenticated || calls != 1 {
		t.Errorf("%v after %d calls", err, calls)
	}
}

// TestClientLooksAtTheLastToken: a service config may make grpc itself try several times.
// The token of the last attempt counts.
func TestClientLooksAtTheLastToken(t *testing.T) {
	creds := grpcauth.PerRPCCredentials(tokens("one", "two"), grpcauth.CredentialsOptions{Hosts: []string{"localhost"}, AllowPlaintext: true})
	calls := 0
	invoke := func(ctx context.Context, _ string, _, _ any, _ *grpc.ClientConn, _ ...grpc.CallOption) error {
		calls++
		for range 2 {
			if _, err := creds.GetRequestMetadata(ctx, "https://localhost/a.B"); err != nil {
				t.Error(err)
			}
		}
		return status.Error(codes.Unauthenticated, "")
	}
	if err := grpcauth.UnaryClientInterceptor()(t.Context(), "/a.B/C", nil, nil, nil, invoke); status.Code(err) != codes.Unauthenticated || calls != 1 {
		t.Errorf("%v after %d calls", err, calls)
	}
}

// TestClientCallsWithinCalls: a call may use the context of another call. Each of the two
// is sent again by itself.
func TestClientCallsWithinCalls(t *testing.T) {
	connect := func(opts ...grpc.DialOption) (testpb.TestServiceClient, *log) {
		l, noted := loopback(t), &log{}
		host(t, l, append(noted.noting("dapr-api-token"), grpc.ChainUnaryInterceptor(grpcauth.UnaryServerInterceptor(&fake{}, grpcauth.Options{})))...)
		return client(t, "passthrough:///"+l.Addr().String(), append(opts, sends(tokens(expired, good), l.Addr().String()))...), noted
	}
	inner, innerLog := connect(retrying)
	outer, outerLog := connect(retrying, grpc.WithChainUnaryInterceptor(
		func(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
			if _, err := unary(ctx, inner); err != nil {
				return errors.Join(err, status.Error(codes.Internal, "within"))
			}
			return invoke(ctx, method, req, reply, cc, opts...)
		}))
	if who, err := unary(t.Context(), outer); who != "sidecar" || err != nil {
		t.Errorf("%q, %v", who, err)
	}
	if in, out := innerLog.take(), outerLog.take(); !reflect.DeepEqual(in, []string{expired, good, good}) || !reflect.DeepEqual(out, []string{expired, good}) {
		t.Errorf("inner %q, outer %q", in, out)
	}
}

// TestClientReplyIsOfTheSecondTry: the reply, the header and the trailer are those of the
// second attempt.
func TestClientReplyIsOfTheSecondTry(t *testing.T) {
	l, v := loopback(t), &fake{}
	host(t, l, grpc.UnaryInterceptor(grpcauth.UnaryServerInterceptor(v, grpcauth.Options{})))
	c := client(t, "passthrough:///"+l.Addr().String(), retrying, sends(tokens(expired, good), l.Addr().String()))
	resp, err := c.UnaryCall(t.Context(), &testpb.SimpleRequest{})
	if err != nil || string(resp.GetPayload().GetBody()) != "sidecar" {
		t.Errorf("%v, %v", resp, err)
	}
	if got := v.take(); !reflect.DeepEqual(got, []string{expired, good}) {
		t.Errorf("asked %q", got)
	}
}
