package httpauth_test

import (
	"net/http/httptest"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	testpb "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/tokenagent/tokenagent/pkg/verify/httpauth"
)

// dial connects a real gRPC client to a real gRPC server that is served by
// net/http over h2c, behind a Middleware, as a proxy or a mixed app has it.
func dial(t *testing.T, o httpauth.Options) *grpc.ClientConn {
	t.Helper()
	inner := grpc.NewServer()
	healthpb.RegisterHealthServer(inner, health.NewServer())
	testpb.RegisterTestServiceServer(inner, testpb.UnimplementedTestServiceServer{})
	s := httptest.NewUnstartedServer(httpauth.Middleware(&fake{}, o)(inner))
	s.Config.Protocols = protocols(false, true)
	s.Start()
	t.Cleanup(s.Close)
	t.Cleanup(inner.Stop)
	conn, err := grpc.NewClient("passthrough:///"+s.Listener.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

func TestGRPCClientSeesAStatus(t *testing.T) {
	client := testpb.NewTestServiceClient(dial(t, httpauth.Options{}))
	for token, want := range map[string]*status.Status{
		good:        status.New(codes.Unimplemented, "method "), // reached the service
		"":          status.New(codes.Unauthenticated, "missing or invalid token"),
		"wrong":     status.New(codes.Unauthenticated, "missing or invalid token"),
		expired:     status.New(codes.Unauthenticated, "missing or invalid token"),
		revoked:     status.New(codes.Unauthenticated, "missing or invalid token"),
		unavailable: status.New(codes.Unavailable, "token source not loaded yet"),
		broken:      status.New(codes.Unavailable, "token source not loaded yet"),
	} {
		ctx := metadata.AppendToOutgoingContext(t.Context(), "dapr-api-token", token)
		var header, trailer metadata.MD
		_, err := client.UnaryCall(ctx, &testpb.SimpleRequest{Payload: &testpb.Payload{Body: make([]byte, 1<<16)}},
			grpc.Header(&header), grpc.Trailer(&trailer))
		if got := status.Convert(err); got.Code() != want.Code() || !strings.HasPrefix(got.Message(), want.Message()) {
			t.Errorf("unary with %q: %v, want %v", token, err, want)
		}

		// A stream is refused while the client still writes to it.
		stream, err := client.FullDuplexCall(ctx)
		if err == nil {
			_ = stream.Send(&testpb.StreamingOutputCallRequest{}) // io.EOF where the refusal is faster
			_, err = stream.Recv()
		}
		if got := status.Code(err); got != want.Code() {
			t.Errorf("stream with %q: %v, want %v", token, err, want)
		}
	}
}

func TestGRPCHealthNeedsNoToken(t *testing.T) {
	for _, o := range []httpauth.Options{{}, {NoDefaultExempt: true}} {
		want := codes.OK
		if o.NoDefaultExempt {
			want = codes.Unauthenticated
		}
		_, err := healthpb.NewHealthClient(dial(t, o)).Check(t.Context(), &healthpb.HealthCheckRequest{})
		if status.Code(err) != want {
			t.Errorf("%+v: %v, want %v", o, err, want)
		}
	}
}
