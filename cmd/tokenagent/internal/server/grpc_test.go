package server

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/url"
	"strings"
	"sync"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	testpb "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/tokenagent/tokenagent/agent"
)

// A grpcApp is an app of every kind of call, which checks nothing itself.
type grpcApp struct {
	testpb.UnimplementedTestServiceServer
	mu   sync.Mutex
	seen metadata.MD
}

func (s *grpcApp) note(ctx context.Context) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seen, _ = metadata.FromIncomingContext(ctx)
}

func (s *grpcApp) UnaryCall(ctx context.Context, r *testpb.SimpleRequest) (*testpb.SimpleResponse, error) {
	s.note(ctx)
	_ = grpc.SetHeader(ctx, metadata.Pairs("x-header", "h"))
	_ = grpc.SetTrailer(ctx, metadata.Pairs("x-trailer", "t"))
	if r.GetFillUsername() {
		return nil, status.Error(codes.FailedPrecondition, "the app's own: 100%")
	}
	return &testpb.SimpleResponse{Payload: r.GetPayload()}, nil
}

func (s *grpcApp) FullDuplexCall(stream grpc.BidiStreamingServer[testpb.StreamingOutputCallRequest, testpb.StreamingOutputCallResponse]) error {
	s.note(stream.Context())
	stream.SetTrailer(metadata.Pairs("x-trailer", "t"))
	for {
		r, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := stream.Send(&testpb.StreamingOutputCallResponse{Payload: r.GetPayload()}); err != nil {
			return err
		}
	}
}

// grpcFront serves a grpc-go app behind the proxy and returns a connection to
// the proxy.
func grpcFront(t *testing.T, a *agent.Agent, o Options) (*grpcApp, *grpc.ClientConn) {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	appServer, theApp := grpc.NewServer(), &grpcApp{}
	testpb.RegisterTestServiceServer(appServer, theApp)
	healthpb.RegisterHealthServer(appServer, health.NewServer())
	var serving sync.WaitGroup
	serving.Go(func() { _ = appServer.Serve(l) })
	t.Cleanup(func() { appServer.Stop(); serving.Wait() })
	o.Upstream = &url.URL{Scheme: "http", Host: l.Addr().String()}
	return theApp, dial(t, front(t, a, o))
}

func dial(t *testing.T, base string) *grpc.ClientConn {
	t.Helper()
	c, err := grpc.NewClient(strings.TrimPrefix(base, "http://"), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func with(ctx context.Context, token string) context.Context {
	return metadata.AppendToOutgoingContext(ctx, "dapr-api-token", token)
}

func TestProxyGRPCUnary(t *testing.T) {
	t.Parallel()
	a, _ := startAgent(t, good)
	theApp, conn := grpcFront(t, a, Options{})
	c := testpb.NewTestServiceClient(conn)
	var header, trailer metadata.MD
	payload := &testpb.Payload{Body: []byte(strings.Repeat("x", 1<<20))}
	res, err := c.UnaryCall(metadata.AppendToOutgoingContext(with(t.Context(), good), "x-tokenagent-subject", "admin"),
		&testpb.SimpleRequest{Payload: payload}, grpc.Header(&header), grpc.Trailer(&trailer))
	if err != nil || len(res.GetPayload().GetBody()) != 1<<20 {
		t.Fatal(err)
	}
	if header.Get("x-header")[0] != "h" || trailer.Get("x-trailer")[0] != "t" {
		t.Errorf("header %v, trailer %v", header, trailer)
	}
	if got := theApp.seen.Get("dapr-api-token"); len(got) > 0 {
		t.Error("the app sees the token")
	}
	if got := theApp.seen.Get("x-tokenagent-subject"); len(got) != 1 || got[0] != "token" {
		t.Errorf("subject %v", got)
	}
	_, err = c.UnaryCall(with(t.Context(), good), &testpb.SimpleRequest{FillUsername: true})
	if s := status.Convert(err); s.Code() != codes.FailedPrecondition || s.Message() != "the app's own: 100%" {
		t.Errorf("the app's own status: %v", err)
	}
	for name, ctx := range map[string]context.Context{"no": t.Context(), "a wrong": with(t.Context(), bad), "a doubled": with(with(t.Context(), good), good)} {
		if _, err := c.UnaryCall(ctx, &testpb.SimpleRequest{}); status.Code(err) != codes.Unauthenticated {
			t.Errorf("%s token: %v", name, err)
		}
	}
}

func TestProxyGRPCStream(t *testing.T) {
	t.Parallel()
	a, _ := startAgent(t, good)
	_, conn := grpcFront(t, a, Options{})
	c := testpb.NewTestServiceClient(conn)
	s, err := c.FullDuplexCall(with(t.Context(), good))
	if err != nil {
		t.Fatal(err)
	}
	for i := range 20 { // each answer before the next question: nothing is held back
		want := strings.Repeat("y", 1+i*1000)
		if err := s.Send(&testpb.StreamingOutputCallRequest{Payload: &testpb.Payload{Body: []byte(want)}}); err != nil {
			t.Fatal(err)
		}
		r, err := s.Recv()
		if err != nil || string(r.GetPayload().GetBody()) != want {
			t.Fatalf("message %d: %v", i, err)
		}
	}
	_ = s.CloseSend()
	if _, err := s.Recv(); !errors.Is(err, io.EOF) || s.Trailer().Get("x-trailer")[0] != "t" {
		t.Errorf("end: %v, trailer %v", err, s.Trailer())
	}
	refused, err := c.FullDuplexCall(with(t.Context(), bad))
	if err == nil {
		_, err = refused.Recv()
	}
	if status.Code(err) != codes.Unauthenticated {
		t.Errorf("a stream with a wrong token: %v", err)
	}
}

func TestProxyGRPCExemptAndBrake(t *testing.T) {
	t.Parallel()
	a, path := startAgent(t, "")
	_, conn := grpcFront(t, a, Options{HealthPath: "/grpc.health.v1.Health/Check"})
	h, c := healthpb.NewHealthClient(conn), testpb.NewTestServiceClient(conn)
	if _, err := h.Check(t.Context(), &healthpb.HealthCheckRequest{}); status.Code(err) != codes.Unavailable {
		t.Errorf("health before the tokens: %v", err)
	}
	if _, err := c.UnaryCall(with(t.Context(), good), &testpb.SimpleRequest{}); status.Code(err) != codes.Unavailable {
		t.Errorf("a call before the tokens: %v", err)
	}
	write(t, path, good)
	until(t, "healthy", func() bool {
		_, err := h.Check(t.Context(), &healthpb.HealthCheckRequest{})
		return err == nil
	})
}

func TestProxyGRPCWithoutTheApp(t *testing.T) {
	t.Parallel()
	a, _ := startAgent(t, good)
	base := front(t, a, Options{Upstream: &url.URL{Scheme: "h2c", Host: freeAddr(t)}, Logger: slog.New(slog.DiscardHandler)})
	_, err := testpb.NewTestServiceClient(dial(t, base)).UnaryCall(with(t.Context(), good), &testpb.SimpleRequest{})
	if status.Code(err) != codes.Unavailable {
		t.Errorf("%v, want Unavailable, which clients try again", err)
	}
}
