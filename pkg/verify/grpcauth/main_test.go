package grpcauth_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"testing"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	testpb "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/metadata"

	"github.com/tokenagent/tokenagent/internal/rotation"
	"github.com/tokenagent/tokenagent/pkg/verify"
	"github.com/tokenagent/tokenagent/pkg/verify/grpcauth"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// The tokens that a fake knows. Each contains "canary", which must not appear in any
// status.
const (
	good        = "canary-good-0123456789"
	old         = "canary-old-0123456789"
	expired     = "canary-expired-0123456789"
	revoked     = "canary-revoked-0123456789"
	unavailable = "canary-unavailable-0123456789"
	broken      = "canary-broken-0123456789"
	busy        = "canary-busy-0123456789"
)

// A fake is a Verifier that records the tokens that it was asked about and the uses that
// it was told of.
type fake struct {
	mu       sync.Mutex
	asked    []string
	recorded []string
}

func (f *fake) Verify(_ context.Context, token string) (*verify.Principal, error) {
	f.mu.Lock()
	f.asked = append(f.asked, token)
	f.mu.Unlock()
	switch token {
	case good:
		return principal(rotation.Current), nil
	case old:
		return principal(rotation.Previous), nil
	case "":
		return nil, fmt.Errorf("fake: %w", verify.ErrNoToken)
	case expired:
		return nil, verify.ErrExpiredToken
	case revoked:
		return nil, fmt.Errorf("fake: %w", verify.ErrRevokedToken)
	case unavailable:
		return nil, verify.ErrUnavailable
	case busy:
		return nil, fmt.Errorf("fake: %w", verify.ErrBusy)
	case broken:
		return nil, fmt.Errorf("fake: %w", context.DeadlineExceeded)
	}
	return nil, verify.ErrInvalidToken
}

func (f *fake) RecordPreviousUse(p *verify.Principal, remote string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.recorded = append(f.recorded, p.Slot().String()+" "+remote)
}

// take returns the tokens that f was asked about since the last take.
func (f *fake) take() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	asked := f.asked
	f.asked = nil
	return asked
}

func principal(slot rotation.Slot) *verify.Principal {
	return verify.NewPrincipal(verify.PrincipalConfig{Subject: "sidecar", Slot: slot})
}

// A service answers every kind of call with the subject of its caller.
type service struct {
	testpb.UnimplementedTestServiceServer
}

func who(ctx context.Context) *testpb.Payload {
	p, _ := verify.FromContext(ctx)
	return &testpb.Payload{Body: []byte(p.Subject())}
}

func (service) EmptyCall(context.Context, *testpb.Empty) (*testpb.Empty, error) {
	return &testpb.Empty{}, nil
}

func (service) UnaryCall(ctx context.Context, _ *testpb.SimpleRequest) (*testpb.SimpleResponse, error) {
	return &testpb.SimpleResponse{Payload: who(ctx)}, nil
}

func (service) StreamingOutputCall(_ *testpb.StreamingOutputCallRequest, s testpb.TestService_StreamingOutputCallServer) error {
	return s.Send(&testpb.StreamingOutputCallResponse{Payload: who(s.Context())})
}

func (service) StreamingInputCall(s testpb.TestService_StreamingInputCallServer) error {
	for {
		if _, err := s.Recv(); errors.Is(err, io.EOF) {
			return s.SendAndClose(&testpb.StreamingInputCallResponse{AggregatedPayloadSize: int32(len(who(s.Context()).GetBody()))})
		} else if err != nil {
			return err
		}
	}
}

func (service) FullDuplexCall(s testpb.TestService_FullDuplexCallServer) error {
	for {
		if _, err := s.Recv(); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		if err := s.Send(&testpb.StreamingOutputCallResponse{Payload: who(s.Context())}); err != nil {
			return err
		}
	}
}

// dial connects a client to a server on loopback behind both interceptors.
func dial(tb testing.TB, v verify.Verifier, o grpcauth.Options) *grpc.ClientConn {
	tb.Helper()
	return connect(tb,
		grpc.UnaryInterceptor(grpcauth.UnaryServerInterceptor(v, o)),
		grpc.StreamInterceptor(grpcauth.StreamServerInterceptor(v, o)))
}

func connect(tb testing.TB, opts ...grpc.ServerOption) *grpc.ClientConn {
	tb.Helper()
	return connectTo(tb, service{}, opts...)
}

func connectTo(tb testing.TB, srv testpb.TestServiceServer, opts ...grpc.ServerOption) *grpc.ClientConn {
	tb.Helper()
	var lc net.ListenConfig
	l, err := lc.Listen(tb.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	s := grpc.NewServer(opts...)
	healthpb.RegisterHealthServer(s, health.NewServer())
	testpb.RegisterTestServiceServer(s, srv)
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	conn, err := grpc.NewClient("passthrough:///"+l.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		_ = conn.Close()
		s.Stop()
		if err := <-served; err != nil {
			tb.Error(err)
		}
	})
	return conn
}

// with returns a context whose call carries the metadata given as pairs.
func with(ctx context.Context, pairs ...string) context.Context {
	return metadata.AppendToOutgoingContext(ctx, pairs...)
}
