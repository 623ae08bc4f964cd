package grpcauth_test

import (
	"context"
	"errors"
	"io"
	"reflect"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	testpb "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/tokenagent/tokenagent/pkg/verify"
	"github.com/tokenagent/tokenagent/pkg/verify/grpcauth"
)

func TestWhichKeyDecides(t *testing.T) {
	reversed := []string{"Authorization", "Dapr-Api-Token"}
	for name, c := range map[string]struct {
		headers []string
		pairs   []string
		asked   string
		code    codes.Code
	}{
		"dapr":                              {nil, []string{"dapr-api-token", good}, good, codes.OK},
		"dapr, any case":                    {nil, []string{"Dapr-API-token", good}, good, codes.OK},
		"bearer":                            {nil, []string{"authorization", "bEARER " + good}, good, codes.OK},
		"dapr beats bearer":                 {nil, []string{"authorization", "Bearer x", "dapr-api-token", good}, good, codes.OK},
		"a wrong dapr beats a good bearer":  {nil, []string{"authorization", "Bearer " + good, "dapr-api-token", "x"}, "x", codes.Unauthenticated},
		"an empty dapr beats a good bearer": {nil, []string{"authorization", "Bearer " + good, "dapr-api-token", ""}, "", codes.Unauthenticated},
		"none":                              {nil, nil, "", codes.Unauthenticated},
		"an end user's basic":               {nil, []string{"authorization", "Basic dTpw"}, "", codes.Unauthenticated},
		"dapr twice":                        {nil, []string{"dapr-api-token", good, "dapr-api-token", good}, verify.Malformed, codes.Unauthenticated},
		"dapr twice, one empty":             {nil, []string{"dapr-api-token", "", "dapr-api-token", good}, verify.Malformed, codes.Unauthenticated},
		"authorization twice":               {nil, []string{"authorization", "Bearer " + good, "Authorization", "Bearer " + good}, verify.Malformed, codes.Unauthenticated},
		"authorization twice, dapr decides": {nil, []string{"authorization", "Bearer a", "authorization", "Bearer b", "dapr-api-token", good}, good, codes.OK},
		"custom, in any case":               {[]string{"X-API-Key"}, []string{"x-api-key", good}, good, codes.OK},
		"custom replaces the default":       {[]string{"x-api-key"}, []string{"dapr-api-token", good}, "", codes.Unauthenticated},
		"configured order":                  {reversed, []string{"dapr-api-token", "x", "authorization", "Bearer " + good}, good, codes.OK},
		"configured order, other scheme":    {reversed, []string{"dapr-api-token", good, "authorization", "Basic dTpw"}, "", codes.Unauthenticated},
		"expired":                           {nil, []string{"dapr-api-token", expired}, expired, codes.Unauthenticated},
		"revoked":                           {nil, []string{"dapr-api-token", revoked}, revoked, codes.Unauthenticated},
		"not loaded":                        {nil, []string{"dapr-api-token", unavailable}, unavailable, codes.Unavailable},
		"unknown error":                     {nil, []string{"dapr-api-token", broken}, broken, codes.Unavailable},
	} {
		t.Run(name, func(t *testing.T) {
			v := &fake{}
			client := testpb.NewTestServiceClient(dial(t, v, grpcauth.Options{Headers: c.headers}))
			ctx := with(t.Context(), c.pairs...)
			for kind, call := range map[string]func() (string, error){
				"unary":  func() (string, error) { return unary(ctx, client) },
				"server": func() (string, error) { return serverStream(ctx, client) },
				"client": func() (string, error) { return clientStream(ctx, client) },
				"bidi":   func() (string, error) { return bidi(ctx, client) },
			} {
				got, err := call()
				if status.Code(err) != c.code || (err == nil) != (got == "sidecar") {
					t.Errorf("%s: %q, %v; want %v", kind, got, err, c.code)
				}
				if asked := v.take(); !reflect.DeepEqual(asked, []string{c.asked}) {
					t.Errorf("%s: the verifier was asked %q, want %q once", kind, asked, c.asked)
				}
			}
		})
	}
}

// Each of these makes one call of its kind and returns who the handler saw.

func unary(ctx context.Context, c testpb.TestServiceClient) (string, error) {
	resp, err := c.UnaryCall(ctx, &testpb.SimpleRequest{})
	return string(resp.GetPayload().GetBody()), err
}

func serverStream(ctx context.Context, c testpb.TestServiceClient) (string, error) {
	s, err := c.StreamingOutputCall(ctx, &testpb.StreamingOutputCallRequest{})
	if err != nil {
		return "", err
	}
	return drain(s.Recv)
}

func clientStream(ctx context.Context, c testpb.TestServiceClient) (string, error) {
	s, err := c.StreamingInputCall(ctx)
	if err != nil {
		return "", err
	}
	_ = s.Send(&testpb.StreamingInputCallRequest{}) // io.EOF where the refusal was faster
	resp, err := s.CloseAndRecv()
	if resp.GetAggregatedPayloadSize() == int32(len("sidecar")) {
		return "sidecar", err
	}
	return "", err
}

func bidi(ctx context.Context, c testpb.TestServiceClient) (string, error) {
	s, err := c.FullDuplexCall(ctx)
	if err != nil {
		return "", err
	}
	_ = s.Send(&testpb.StreamingOutputCallRequest{})
	_ = s.CloseSend()
	return drain(s.Recv)
}

// drain receives to the end, which frees the stream.
func drain(recv func() (*testpb.StreamingOutputCallResponse, error)) (body string, err error) {
	for {
		resp, err := recv()
		if errors.Is(err, io.EOF) {
			return body, nil
		}
		if err != nil {
			return body, err
		}
		body = string(resp.GetPayload().GetBody())
	}
}

func TestExempt(t *testing.T) {
	const empty, unaryCall = "/grpc.testing.TestService/EmptyCall", "/grpc.testing.TestService/UnaryCall"
	for name, c := range map[string]struct {
		o                    grpcauth.Options
		health, empty, unary codes.Code
	}{
		"default":     {grpcauth.Options{}, codes.OK, codes.Unauthenticated, codes.Unauthenticated},
		"no default":  {grpcauth.Options{NoDefaultExempt: true}, codes.Unauthenticated, codes.Unauthenticated, codes.Unauthenticated},
		"one more":    {grpcauth.Options{Exempt: []string{empty}}, codes.OK, codes.OK, codes.Unauthenticated},
		"one alone":   {grpcauth.Options{Exempt: []string{unaryCall}, NoDefaultExempt: true}, codes.Unauthenticated, codes.Unauthenticated, codes.OK},
		"no prefixes": {grpcauth.Options{Exempt: []string{"/grpc.testing.TestService/Empty", "/grpc.testing.TestService/UnaryCall2"}}, codes.OK, codes.Unauthenticated, codes.Unauthenticated},
		"no folding":  {grpcauth.Options{Exempt: []string{strings.ToLower(empty)}}, codes.OK, codes.Unauthenticated, codes.Unauthenticated},
	} {
		v := &fake{}
		conn := dial(t, v, c.o)
		health, client := healthpb.NewHealthClient(conn), testpb.NewTestServiceClient(conn)
		if _, err := health.Check(t.Context(), &healthpb.HealthCheckRequest{}); status.Code(err) != c.health {
			t.Errorf("%s: health: %v", name, err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		watch, err := health.Watch(ctx, &healthpb.HealthCheckRequest{})
		if err == nil {
			_, err = watch.Recv()
		}
		if cancel(); status.Code(err) != c.health {
			t.Errorf("%s: watch: %v", name, err)
		}
		if _, err := client.EmptyCall(t.Context(), &testpb.Empty{}); status.Code(err) != c.empty {
			t.Errorf("%s: EmptyCall: %v", name, err)
		}
		if who, err := unary(t.Context(), client); status.Code(err) != c.unary || who != "" {
			t.Errorf("%s: UnaryCall: %q, %v", name, who, err)
		}
		refusals := 0
		for _, code := range []codes.Code{c.health, c.health, c.empty, c.unary} {
			if code != codes.OK {
				refusals++
			}
		}
		if asked := v.take(); len(asked) != refusals {
			t.Errorf("%s: the verifier was asked %d times, want %d, since exempt calls do not ask it", name, len(asked), refusals)
		}
	}
}

// TestP5_NoTokenNoAccess: a call reaches the handler only with a token for which the
// verifier returns a Principal. A refusal has one of two codes.
func TestP5_NoTokenNoAccess(t *testing.T) {
	yes := func(context.Context, string) (*verify.Principal, error) { return principal(1), nil }
	for name, c := range map[string]struct {
		v     verify.VerifierFunc
		pairs []string
		want  codes.Code
	}{
		"the one way in":        {yes, []string{"dapr-api-token", good}, codes.OK},
		"yes to no token":       {yes, nil, codes.Unauthenticated},
		"yes to an empty one":   {yes, []string{"dapr-api-token", ""}, codes.Unauthenticated},
		"yes to one sent twice": {yes, []string{"dapr-api-token", good, "dapr-api-token", good}, codes.Unauthenticated},
		"yes to another scheme": {yes, []string{"authorization", "Basic dTpw"}, codes.Unauthenticated},
		"yes, but nobody":       {func(context.Context, string) (*verify.Principal, error) { return nil, nil }, []string{"dapr-api-token", good}, codes.Unavailable},
		"a status of the verifier's": {func(context.Context, string) (*verify.Principal, error) {
			return nil, status.Error(codes.NotFound, good)
		}, []string{"dapr-api-token", good}, codes.Unavailable},
		"an OK status as an error": {func(context.Context, string) (*verify.Principal, error) { return nil, okStatus{} }, []string{"dapr-api-token", good}, codes.Unavailable},
	} {
		md := metadata.Pairs(c.pairs...)
		ctx := metadata.NewIncomingContext(t.Context(), md)
		reached := false
		_, err := grpcauth.UnaryServerInterceptor(c.v, grpcauth.Options{})(ctx, nil, &grpc.UnaryServerInfo{FullMethod: "/a.B/C"},
			func(context.Context, any) (any, error) { reached = true; return nil, nil })
		if status.Code(err) != c.want || reached != (c.want == codes.OK) {
			t.Errorf("unary, %s: %v, handler reached: %t", name, err, reached)
		}
		reached = false
		err = grpcauth.StreamServerInterceptor(c.v, grpcauth.Options{})(nil, &bareStream{ctx: ctx}, &grpc.StreamServerInfo{FullMethod: "/a.B/C"},
			func(any, grpc.ServerStream) error { reached = true; return nil })
		if status.Code(err) != c.want || reached != (c.want == codes.OK) {
			t.Errorf("stream, %s: %v, handler reached: %t", name, err, reached)
		}
	}
	// A call within the process may have no metadata at all.
	_, err := grpcauth.UnaryServerInterceptor(verify.VerifierFunc(yes), grpcauth.Options{})(t.Context(), nil, &grpc.UnaryServerInfo{FullMethod: "/a.B/C"}, nil)
	if status.Code(err) != codes.Unauthenticated {
		t.Errorf("no metadata: %v", err)
	}
}

// TestMetadataMadeByHand: a caller within the process may write keys in upper or lower
// case, and may add values to the context around the metadata.
func TestMetadataMadeByHand(t *testing.T) {
	type key struct{}
	for name, c := range map[string]struct {
		md   metadata.MD
		want []string
	}{
		"lower case":          {metadata.MD{"dapr-api-token": {good}}, []string{good}},
		"mixed case":          {metadata.MD{"Dapr-Api-Token": {good}}, []string{good}},
		"no value":            {metadata.MD{"dapr-api-token": nil, "authorization": {"Bearer " + good}}, []string{good}},
		"an empty list":       {metadata.MD{"dapr-api-token": {}, "authorization": {"Bearer " + good}}, []string{good}},
		"the second in upper": {metadata.MD{"AUTHORIZATION": {"Bearer " + good}}, []string{good}},
		"nil":                 {nil, []string{""}},
	} {
		v := &fake{}
		ctx, cancel := context.WithCancel(context.WithValue(metadata.NewIncomingContext(t.Context(), c.md), key{}, 1))
		_, _ = grpcauth.UnaryServerInterceptor(v, grpcauth.Options{})(ctx, nil, &grpc.UnaryServerInfo{FullMethod: "/a.B/C"}, done)
		cancel()
		if got := v.take(); !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: asked %q, want %q", name, got, c.want)
		}
	}
	// Outgoing metadata carries no token of an incoming call.
	v, ctx := &fake{}, metadata.AppendToOutgoingContext(t.Context(), "dapr-api-token", good)
	_, err := grpcauth.UnaryServerInterceptor(v, grpcauth.Options{})(ctx, nil, &grpc.UnaryServerInfo{FullMethod: "/a.B/C"}, done)
	if status.Code(err) != codes.Unauthenticated {
		t.Errorf("outgoing metadata: %v", err)
	}
}

// An okStatus is an error that gRPC would send as success.
type okStatus struct{}

func (okStatus) Error() string              { return "fine" }
func (okStatus) GRPCStatus() *status.Status { return status.New(codes.OK, "") }

// A bareStream is a ServerStream with only a context.
type bareStream struct {
	grpc.ServerStream
	ctx context.Context
}

func (s *bareStream) Context() context.Context { return s.ctx }
