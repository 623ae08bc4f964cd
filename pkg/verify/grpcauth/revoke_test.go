package grpcauth_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	testpb "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/status"

	"github.com/tokenagent/tokenagent/agent"
	"github.com/tokenagent/tokenagent/internal/rotation"
	"github.com/tokenagent/tokenagent/pkg/verify"
	"github.com/tokenagent/tokenagent/pkg/verify/grpcauth"
)

// following starts an agent that accepts the tokens in text.
func following(t *testing.T, text string) *agent.Agent {
	t.Helper()
	path := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	a, err := agent.Start(t.Context(), agent.Config{TokenFile: path, PollOnly: true, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = a.Close() })
	return a
}

// A held handler reports that it has begun. Of a call with a previous token it then
// reports the error that ended it.
type held struct {
	testpb.UnimplementedTestServiceServer
	begun, ended chan error
	act          func(s testpb.TestService_FullDuplexCallServer) error
}

func newHeld(act func(testpb.TestService_FullDuplexCallServer) error) *held {
	return &held{begun: make(chan error, 10), ended: make(chan error, 10), act: act}
}

func (h *held) FullDuplexCall(s testpb.TestService_FullDuplexCallServer) error {
	h.begun <- s.Send(&testpb.StreamingOutputCallResponse{})
	err := h.act(s)
	if p, _ := verify.FromContext(s.Context()); p.Slot() == rotation.Previous {
		h.ended <- err
	}
	return err
}

func (h *held) wait(t *testing.T, ch chan error) error {
	t.Helper()
	select {
	case err := <-ch:
		return err
	case <-time.After(20 * time.Second):
		t.Fatal("the handler hangs")
		return nil
	}
}

func open(t *testing.T, conn *grpc.ClientConn, token string) testpb.TestService_FullDuplexCallClient {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	t.Cleanup(cancel)
	s, err := testpb.NewTestServiceClient(conn).FullDuplexCall(with(ctx, "dapr-api-token", token))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestP3_RevocationEndsLiveStreams revokes the token of streams whose handlers are
// receiving, sending to a client that does not read, waiting for their context, or
// ignoring it until they use the stream again.
func TestP3_RevocationEndsLiveStreams(t *testing.T) {
	t.Parallel()
	for name, act := range map[string]func(testpb.TestService_FullDuplexCallServer) error{
		"receiving": func(s testpb.TestService_FullDuplexCallServer) error { _, err := s.Recv(); return err },
		"sending": func(s testpb.TestService_FullDuplexCallServer) error {
			big := &testpb.StreamingOutputCallResponse{Payload: &testpb.Payload{Body: make([]byte, 1<<20)}}
			for {
				if err := s.Send(big); err != nil {
					return err
				}
			}
		},
		"waiting": func(s testpb.TestService_FullDuplexCallServer) error {
			<-s.Context().Done()
			if _, ok := verify.FromContext(s.Context()); !ok {
				return errors.New("no Principal in the context")
			}
			return context.Cause(s.Context())
		},
		"ending well": func(s testpb.TestService_FullDuplexCallServer) error { <-s.Context().Done(); return nil },
		"sending afterwards": func(s testpb.TestService_FullDuplexCallServer) error {
			<-s.Context().Done()
			return s.Send(&testpb.StreamingOutputCallResponse{})
		},
		"receiving afterwards": func(s testpb.TestService_FullDuplexCallServer) error {
			<-s.Context().Done()
			_, err := s.Recv()
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := following(t, good+"\n"+old+" previous")
			h := newHeld(act)
			conn := connectTo(t, h, grpc.StreamInterceptor(grpcauth.StreamServerInterceptor(a, grpcauth.Options{EndRevokedStreams: true})))
			doomed, other := open(t, conn, old), open(t, conn, good)
			for range 2 {
				if err := h.wait(t, h.begun); err != nil {
					t.Fatal(err)
				}
			}
			if err := a.Revoke(verify.Digest(old)); err != nil {
				t.Fatal(err)
			}
			for {
				_, err := doomed.Recv()
				if err == nil {
					continue // what had been sent before
				}
				if status.Code(err) != codes.Unauthenticated || strings.Contains(err.Error(), "canary") {
					t.Errorf("%v, want Unauthenticated", err)
				}
				break
			}
			if err := h.wait(t, h.ended); name != "ending well" && status.Code(err) != codes.Unauthenticated {
				t.Errorf("the handler saw %v", err)
			}
			// The stream of the other token stays open.
			select {
			case <-other.Context().Done():
				t.Error("a stream with another token was cut")
			default:
			}
			if _, err := other.Recv(); err != nil {
				t.Errorf("a stream with another token: %v", err)
			}
		})
	}
}

// TestOnlyARevocationEndsStreams: neither the end of an overlap nor Retire ends a stream,
// nor does a revocation without the option.
func TestOnlyARevocationEndsStreams(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		o  grpcauth.Options
		do func(a *agent.Agent) error
	}{
		"retired":       {grpcauth.Options{EndRevokedStreams: true}, (*agent.Agent).Retire},
		"other revoked": {grpcauth.Options{EndRevokedStreams: true}, func(a *agent.Agent) error { return a.Revoke(verify.Digest(good)) }},
		"closed":        {grpcauth.Options{EndRevokedStreams: true}, (*agent.Agent).Close},
		"no option":     {grpcauth.Options{}, func(a *agent.Agent) error { return a.Revoke(verify.Digest(old)) }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := following(t, good+"\n"+old+" previous")
			conn := connectTo(t, &service{}, grpc.StreamInterceptor(grpcauth.StreamServerInterceptor(a, c.o)))
			s := open(t, conn, old)
			for i := range 2 {
				if err := s.Send(&testpb.StreamingOutputCallRequest{}); err != nil {
					t.Fatal(err)
				}
				if _, err := s.Recv(); err != nil {
					t.Fatalf("message %d: %v", i, err)
				}
				if err := c.do(a); err != nil && !errors.Is(err, agent.ErrClosed) {
					t.Fatal(err)
				}
			}
			if err := s.CloseSend(); err != nil {
				t.Fatal(err)
			}
			if _, err := s.Recv(); !errors.Is(err, io.EOF) {
				t.Errorf("%v, want its end", err)
			}
		})
	}
}

// TestWatchedStreamsEndAsTheirHandlersDo: a stream that is not revoked ends with the result
// of its handler, and an outer interceptor sees the handler's panic.
func TestWatchedStreamsEndAsTheirHandlersDo(t *testing.T) {
	t.Parallel()
	a := following(t, good)
	var mu sync.Mutex
	var recovered any
	recovering := func(srv any, ss grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) (err error) {
		defer func() {
			if p := recover(); p != nil {
				mu.Lock()
				recovered = p
				mu.Unlock()
				err = status.Error(codes.Internal, "recovered")
			}
		}()
		return handler(srv, ss)
	}
	for name, c := range map[string]struct {
		act  func(testpb.TestService_FullDuplexCallServer) error
		want codes.Code
	}{
		"good":  {func(testpb.TestService_FullDuplexCallServer) error { return nil }, codes.OK},
		"error": {func(testpb.TestService_FullDuplexCallServer) error { return status.Error(codes.DataLoss, "x") }, codes.DataLoss},
		"panic": {func(testpb.TestService_FullDuplexCallServer) error { panic("as one does") }, codes.Internal},
	} {
		conn := connectTo(t, newHeld(c.act), grpc.ChainStreamInterceptor(recovering, grpcauth.StreamServerInterceptor(a, grpcauth.Options{EndRevokedStreams: true})))
		s := open(t, conn, good)
		if _, err := s.Recv(); err != nil {
			t.Fatal(err)
		}
		_, err := s.Recv()
		if errors.Is(err, io.EOF) {
			err = nil
		}
		if status.Code(err) != c.want {
			t.Errorf("%s: %v, want %s", name, err, c.want)
		}
	}
	mu.Lock()
	defer mu.Unlock()
	if recovered != "as one does" {
		t.Errorf("recovered %v", recovered)
	}
}

func TestEndRevokedStreamsNeedsAWaiter(t *testing.T) {
	t.Parallel()
	defer func() {
		if text, _ := recover().(string); !strings.Contains(text, "RevocationWaiter") {
			t.Errorf("panicked with %q", text)
		}
	}()
	grpcauth.StreamServerInterceptor(&fake{}, grpcauth.Options{EndRevokedStreams: true})
}

// TestAnyWithoutWaitersIsNoWaiter: such a Verifier cannot report revocations.
func TestAnyWithoutWaitersIsNoWaiter(t *testing.T) {
	t.Parallel()
	if _, ok := verify.Any(&fake{}).(verify.RevocationWaiter); ok {
		t.Error("it is a RevocationWaiter")
	}
}

// TestAnyAwaitsRevocation: Any asks the Verifier that returned the Principal.
func TestAnyAwaitsRevocation(t *testing.T) {
	t.Parallel()
	a := following(t, good)
	// Both agents call their source by the default name.
	v := verify.Any(following(t, old), a, &fake{})
	p, err := v.Verify(t.Context(), good)
	if err != nil {
		t.Fatal(err)
	}
	w, ok := v.(verify.RevocationWaiter)
	if !ok {
		t.Fatal("Any is no RevocationWaiter")
	}
	if w.AwaitRevocation(t.Context(), verify.NewPrincipal(verify.PrincipalConfig{Source: "another"})) {
		t.Error("the Principal of another Verifier is revoked")
	}
	got := make(chan bool)
	go func() { got <- w.AwaitRevocation(t.Context(), p) }()
	if err := a.Revoke(p.Credential()); err != nil {
		t.Fatal(err)
	}
	if !<-got {
		t.Error("not told of the revocation")
	}
}
