package grpcauth_test

import (
	"context"
	"fmt"
	"net"
	"reflect"
	"strings"
	"testing"

	"google.golang.org/grpc"
	testpb "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	"github.com/tokenagent/tokenagent/internal/rotation"
	"github.com/tokenagent/tokenagent/pkg/verify"
	"github.com/tokenagent/tokenagent/pkg/verify/grpcauth"
)

// TestRefusalsAreIdentical: a caller cannot tell a wrong token from an expired or revoked
// one, or from none.
func TestRefusalsAreIdentical(t *testing.T) {
	client := testpb.NewTestServiceClient(dial(t, &fake{}, grpcauth.Options{}))
	answer := func(token string) string {
		var header, trailer metadata.MD
		_, err := client.UnaryCall(with(t.Context(), "dapr-api-token", token), &testpb.SimpleRequest{}, grpc.Header(&header), grpc.Trailer(&trailer))
		return fmt.Sprint(status.Convert(err).Proto(), header, trailer)
	}
	want := answer("wrong")
	for _, token := range []string{expired, revoked, "", good + "x"} {
		if got := answer(token); got != want {
			t.Errorf("%q is answered %s, a wrong token %s", token, got, want)
		}
	}
	if a, b := answer(unavailable), answer(broken); a != b || a == want {
		t.Errorf("not loaded is answered %s, an unknown error %s", a, b)
	}
	if got, want := answer(busy), strings.Replace(answer(unavailable), "token source not loaded yet", "too many signatures are being checked; try again", 1); got != want {
		t.Errorf("too busy is answered %s, want %s", got, want)
	}
}

// TestP7_NoTokenInAnyStatus: no part of a token appears in a status, a header or a trailer.
func TestP7_NoTokenInAnyStatus(t *testing.T) {
	client := testpb.NewTestServiceClient(dial(t, &fake{}, grpcauth.Options{}))
	for _, token := range []string{good, old, expired, revoked, unavailable, broken, "canary", "canary, canary"} {
		for _, pairs := range [][]string{
			{"dapr-api-token", token},
			{"dapr-api-token", token, "dapr-api-token", token},
			{"authorization", "Bearer " + token},
			{"authorization", token},
		} {
			var header, trailer metadata.MD
			_, err := client.UnaryCall(with(t.Context(), pairs...), &testpb.SimpleRequest{}, grpc.Header(&header), grpc.Trailer(&trailer))
			_, streamErr := bidi(with(t.Context(), pairs...), client)
			if said := fmt.Sprintf("%v %+v %v %v %v", err, status.Convert(err).Proto(), header, trailer, streamErr); strings.Contains(said, "canary") {
				t.Errorf("%q: %s", pairs, said)
			}
		}
	}
}

func TestWithoutPrincipal(t *testing.T) {
	o := grpcauth.Options{WithoutPrincipal: true}
	client := testpb.NewTestServiceClient(dial(t, &fake{}, o))
	ctx := with(t.Context(), "dapr-api-token", good)
	if who, err := unary(ctx, client); who != "" || err != nil {
		t.Errorf("unary: %q, %v", who, err)
	}
	if who, err := bidi(ctx, client); who != "" || err != nil {
		t.Errorf("stream: %q, %v", who, err)
	}
	// Without a Principal the stream is not wrapped.
	ss := &bareStream{ctx: incoming(t.Context(), good)}
	err := grpcauth.StreamServerInterceptor(&fake{}, o)(nil, ss, &grpc.StreamServerInfo{FullMethod: "/a.B/C"}, func(_ any, got grpc.ServerStream) error {
		if got != grpc.ServerStream(ss) {
			t.Errorf("the handler is given %T", got)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

func incoming(ctx context.Context, token string) context.Context {
	return metadata.NewIncomingContext(ctx, metadata.Pairs(
		":authority", "h", "content-type", "application/grpc", "user-agent", "x", "traceparent", "00-0-0-00", "dapr-api-token", token))
}

// TestHandlerKeepsTheMetadata, as the package comment says.
func TestHandlerKeepsTheMetadata(t *testing.T) {
	_, err := grpcauth.UnaryServerInterceptor(&fake{}, grpcauth.Options{})(incoming(t.Context(), good), nil, &grpc.UnaryServerInfo{FullMethod: "/a.B/C"},
		func(ctx context.Context, _ any) (any, error) {
			if got := metadata.ValueFromIncomingContext(ctx, "dapr-api-token"); !reflect.DeepEqual(got, []string{good}) {
				t.Errorf("the handler sees %q", got)
			}
			return nil, nil
		})
	if err != nil {
		t.Error(err)
	}
}

func TestPreviousUseIsRecorded(t *testing.T) {
	v := &fake{}
	call := func(v verify.Verifier, token string, p *peer.Peer) {
		ctx := incoming(t.Context(), token)
		if p != nil {
			ctx = peer.NewContext(ctx, p)
		}
		_, _ = grpcauth.UnaryServerInterceptor(v, grpcauth.Options{})(ctx, nil, &grpc.UnaryServerInfo{FullMethod: "/a.B/C"},
			func(context.Context, any) (any, error) { return nil, nil })
		_ = grpcauth.StreamServerInterceptor(v, grpcauth.Options{})(nil, &bareStream{ctx: ctx}, &grpc.StreamServerInfo{FullMethod: "/a.B/C"},
			func(any, grpc.ServerStream) error { return nil })
	}
	at := &peer.Peer{Addr: &net.TCPAddr{IP: net.IPv4(192, 0, 2, 7), Port: 4000}}
	for _, token := range []string{good, expired, "wrong", "", old} {
		call(v, token, at)
	}
	call(v, old, nil)
	call(v, old, &peer.Peer{})
	call(verify.VerifierFunc(v.Verify), old, at) // does not want to know
	want := []string{"previous 192.0.2.7:4000", "previous 192.0.2.7:4000", "previous ", "previous ", "previous ", "previous "}
	if !reflect.DeepEqual(v.recorded, want) {
		t.Errorf("recorded %q, want %q", v.recorded, want)
	}
	// Over a real connection.
	v = &fake{}
	if _, err := unary(with(t.Context(), "dapr-api-token", old), testpb.NewTestServiceClient(dial(t, v, grpcauth.Options{}))); err != nil {
		t.Fatal(err)
	}
	if len(v.recorded) != 1 || !strings.HasPrefix(v.recorded[0], "previous 127.0.0.1:") {
		t.Errorf("recorded %q", v.recorded)
	}
}

func TestPanicIsNotSwallowed(t *testing.T) {
	defer func() {
		if got := recover(); got != "boom" {
			t.Errorf("recovered %v", got)
		}
	}()
	v := verify.VerifierFunc(func(context.Context, string) (*verify.Principal, error) { panic("boom") })
	_, _ = grpcauth.UnaryServerInterceptor(v, grpcauth.Options{})(t.Context(), nil, &grpc.UnaryServerInfo{}, nil)
}

func TestValidate(t *testing.T) {
	for _, o := range []grpcauth.Options{{}, {Headers: []string{"X-Key", "AUTHORIZATION"}, Exempt: []string{"/a.b.C/D", "/C/D"}, NoDefaultExempt: true, WithoutPrincipal: true}} {
		if err := o.Validate(); err != nil {
			t.Errorf("%+v: %v", o, err)
		}
	}
	for want, o := range map[string]grpcauth.Options{
		"Headers[0] is not":         {Headers: []string{":authority"}},
		"Headers[1] belongs":        {Headers: []string{"x", "Content-Type"}},
		"Headers[0]: gRPC reserves": {Headers: []string{"X-Key-Bin"}},
		"Headers[1]: gRPC reserves": {Headers: []string{"x", "grpc-token"}},
		"Headers[1] is listed":      {Headers: []string{"x", "X"}},
		"Exempt[0]":                 {Exempt: []string{""}},
		"Exempt[1]":                 {Exempt: []string{"/a.B/C", "a.B/C"}},
		"Exempt[2]: not a full":     {Exempt: []string{"/a.B/C", "/a.B/D", "/a.B/"}},
		"such as /package.Service":  {Exempt: []string{"/a.B"}},
	} {
		err := o.Validate()
		if err == nil || !strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), "grpcauth: ") {
			t.Errorf("%+v: Validate = %v, want an error that says %q", o, err, want)
		}
	}
	for _, method := range []string{"//a.B/C", "/a.B//C", "/a.B/%43", "/a.B/C;x", "/a.B/../C", "GET /a.B/C", good} {
		err := grpcauth.Options{Exempt: []string{method}}.Validate()
		if err == nil || strings.Contains(err.Error(), "canary") {
			t.Errorf("Validate(%q) = %v", method, err)
		}
	}
}

func TestConstructorsPanic(t *testing.T) {
	bad := grpcauth.Options{Exempt: []string{"no method"}}
	for name, build := range map[string]func(){
		"unary, nil":      func() { grpcauth.UnaryServerInterceptor(nil, grpcauth.Options{}) },
		"stream, nil":     func() { grpcauth.StreamServerInterceptor(nil, grpcauth.Options{}) },
		"unary, options":  func() { grpcauth.UnaryServerInterceptor(&fake{}, bad) },
		"stream, options": func() { grpcauth.StreamServerInterceptor(&fake{}, bad) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: no panic", name)
				}
			}()
			build()
		}()
	}
}

func TestSlotOfThePrincipal(t *testing.T) {
	_, err := grpcauth.UnaryServerInterceptor(&fake{}, grpcauth.Options{})(incoming(t.Context(), old), nil, &grpc.UnaryServerInfo{FullMethod: "/a.B/C"},
		func(ctx context.Context, _ any) (any, error) {
			if p, ok := verify.FromContext(ctx); !ok || p.Slot() != rotation.Previous {
				t.Errorf("the handler finds %v, %t", p, ok)
			}
			return nil, nil
		})
	if err != nil {
		t.Error(err)
	}
}
