package grpcauth_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"reflect"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	"github.com/tokenagent/tokenagent/pkg/verify"
	"github.com/tokenagent/tokenagent/pkg/verify/grpcauth"
)

func TestCredentialsAskForEachCall(t *testing.T) {
	for header, want := range map[string]struct{ key, prefix string }{
		"":              {"dapr-api-token", ""},
		"X-API-Key":     {"x-api-key", ""},
		"Authorization": {"authorization", "Bearer "},
	} {
		l, noted := loopback(t), &log{}
		host(t, l, noted.noting(want.key)...)
		c := client(t, "passthrough:///"+l.Addr().String(), grpc.WithPerRPCCredentials(grpcauth.PerRPCCredentials(
			tokens("one", "two", "three", "four"), grpcauth.CredentialsOptions{Hosts: []string{l.Addr().String()}, Header: header})))
		for _, call := range []func() (string, error){
			func() (string, error) { return unary(t.Context(), c) },
			func() (string, error) { return serverStream(t.Context(), c) },
			func() (string, error) { return clientStream(t.Context(), c) },
			func() (string, error) { return bidi(t.Context(), c) },
		} {
			if _, err := call(); err != nil {
				t.Error(err)
			}
		}
		if got := noted.take(); !reflect.DeepEqual(got, []string{want.prefix + "one", want.prefix + "two", want.prefix + "three", want.prefix + "four"}) {
			t.Errorf("Header %q: %q", header, got)
		}
	}
}

func TestCredentialsReachTheInterceptors(t *testing.T) {
	l, v := loopback(t), &fake{}
	host(t, l, protected(grpcauth.UnaryServerInterceptor(v, grpcauth.Options{}), grpcauth.StreamServerInterceptor(v, grpcauth.Options{}))...)
	c := client(t, "dns:///"+l.Addr().String(), sends(static(good), l.Addr().String()))
	for _, call := range []func() (string, error){
		func() (string, error) { return unary(t.Context(), c) },
		func() (string, error) { return bidi(t.Context(), c) },
	} {
		if who, err := call(); who != "sidecar" || err != nil {
			t.Errorf("%q, %v", who, err)
		}
	}
	// If the caller adds the key, too, it is sent twice and refused.
	if _, err := unary(with(t.Context(), "dapr-api-token", good), c); status.Code(err) != codes.Unauthenticated {
		t.Errorf("twice: %v", err)
	}
}

// TestCredentialsAreRefusedEarly: grpc.NewClient fails if no connection could carry the
// credentials.
func TestCredentialsAreRefusedEarly(t *testing.T) {
	for _, c := range []struct {
		o    grpcauth.CredentialsOptions
		want bool
	}{
		{grpcauth.CredentialsOptions{Hosts: []string{"app.example"}}, true},
		{grpcauth.CredentialsOptions{Hosts: []string{"app.example"}, AllowPlaintext: true}, false},
		{grpcauth.CredentialsOptions{Hosts: []string{"app.example", "127.0.0.1:1"}}, false},
	} {
		creds := grpcauth.PerRPCCredentials(static(good), c.o)
		if creds.RequireTransportSecurity() != c.want {
			t.Errorf("%+v: RequireTransportSecurity is not %t", c.o, c.want)
		}
		conn, err := grpc.NewClient("app.example", grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithPerRPCCredentials(creds))
		if err == nil {
			_ = conn.Close()
		}
		if (err != nil) != c.want {
			t.Errorf("%+v: NewClient: %v", c.o, err)
		}
	}
}

func TestCredentialsWithoutAToken(t *testing.T) {
	boom := errors.New("boom")
	l, noted := loopback(t), &log{}
	host(t, l, noted.noting("dapr-api-token")...)
	for name, c := range map[string]struct {
		src  sourceFunc
		want error
	}{
		"not loaded": {func() (string, error) { return "", fmt.Errorf("agent: %w", verify.ErrUnavailable) }, verify.ErrUnavailable},
		"broken":     {func() (string, error) { return good, boom }, boom},
		"restricted": {func() (string, error) { return good, status.Error(codes.NotFound, "no token") }, nil},
		"empty":      {tokens(""), verify.ErrUnavailable},
	} {
		api := client(t, "passthrough:///"+l.Addr().String(), sends(c.src, l.Addr().String()), grpc.WithUnaryInterceptor(grpcauth.UnaryClientInterceptor()))
		_, err := unary(t.Context(), api)
		_, streamErr := bidi(t.Context(), api)
		for _, err := range []error{err, streamErr} {
			if status.Code(err) != codes.Unavailable || !strings.Contains(err.Error(), "desc = grpcauth: ") {
				t.Errorf("%s: %v, want Unavailable by grpcauth", name, err)
			}
			if c.want != nil && !errors.Is(err, c.want) {
				t.Errorf("%s: %v does not wrap %v", name, err, c.want)
			}
			if strings.Contains(err.Error(), "canary") {
				t.Errorf("%s: shows the token: %v", name, err)
			}
		}
	}
	if got := noted.take(); len(got) != 0 {
		t.Errorf("arrived with %q", got)
	}
}

func TestCredentialsValidate(t *testing.T) {
	if err := (grpcauth.CredentialsOptions{Hosts: []string{"a", "b:1", "[::1]:2"}, Header: "X-Key", AllowPlaintext: true}).Validate(); err != nil {
		t.Error(err)
	}
	for want, o := range map[string]grpcauth.CredentialsOptions{
		"grpcauth: Hosts is empty":           {},
		"grpcauth: Hosts[1] is not a host":   {Hosts: []string{"a", "dns:///canary"}},
		"grpcauth: Header is not a field":    {Hosts: []string{"a"}, Header: "dapr-api-token: canary"},
		"grpcauth: Header belongs to the tr": {Hosts: []string{"canary/"}, Header: "Content-Type"},
		"grpcauth: Header: gRPC reserves":    {Hosts: []string{"a"}, Header: "Token-Bin"},
		"begin with grpc- or end in -bin":    {Hosts: []string{"a"}, Header: "grpc-token"},
	} {
		err := o.Validate()
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "canary") {
			t.Errorf("%+v: %v, want %q", o, err, want)
		}
		panics(t, fmt.Sprintf("%+v", o), func() { grpcauth.PerRPCCredentials(static(good), o) })
	}
	panics(t, "nil", func() { grpcauth.PerRPCCredentials(nil, grpcauth.CredentialsOptions{Hosts: []string{"a"}}) })
}

func panics(t *testing.T, what string, f func()) {
	t.Helper()
	defer func() {
		if recover() == nil {
			t.Errorf("%s: no panic", what)
		}
	}()
	f()
}

// TestP7_CredentialsShowNoToken prints credentials with every verb, alone and as a field of
// other values.
func TestP7_CredentialsShowNoToken(t *testing.T) {
	creds := grpcauth.PerRPCCredentials(static(good), grpcauth.CredentialsOptions{Hosts: []string{"localhost"}})
	hidden := struct {
		c credentials.PerRPCCredentials
	}{creds}
	var said strings.Builder
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%d", "%q", "%x"} {
		_, _ = fmt.Fprintf(&said, verb+verb+verb, creds, hidden, &hidden)
	}
	if got := fmt.Sprintf("%#v", creds); got != "grpcauth.PerRPCCredentials" {
		t.Errorf("printed as %s", got)
	}
	b, err := json.Marshal(creds)
	_, _ = fmt.Fprint(&said, string(b), err)
	// The context of a call, which a later interceptor or a stats handler might print, and
	// the error of a refused call.
	ctx := peer.NewContext(t.Context(), &peer.Peer{Addr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)}})
	err = grpcauth.UnaryClientInterceptor()(ctx, "/a.B/C", nil, nil, nil, func(ctx context.Context, _ string, _, _ any, _ *grpc.ClientConn, _ ...grpc.CallOption) error {
		if _, err := creds.GetRequestMetadata(ctx, "https://localhost/a.B"); err != nil {
			t.Error(err)
		}
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%d"} {
			_, _ = fmt.Fprintf(&said, verb, ctx)
		}
		return status.Error(codes.Unauthenticated, "missing or invalid token")
	})
	_, _ = fmt.Fprint(&said, err)
	l := loopback(t)
	host(t, l, grpc.UnaryInterceptor(grpcauth.UnaryServerInterceptor(&fake{}, grpcauth.Options{})))
	for _, token := range []string{good, expired, good + "\n"} { // the last is refused by grpc, which names the key alone
		_, err := unary(t.Context(), client(t, "passthrough:///"+l.Addr().String(), sends(static(token), l.Addr().String())))
		_, _ = fmt.Fprintf(&said, "%v %+v", err, status.Convert(err).Proto())
	}
	if strings.Contains(said.String(), "canary") || strings.Contains(said.String(), fmt.Sprintf("%x", good)) {
		t.Errorf("the token appears in %s", said.String())
	}
}
