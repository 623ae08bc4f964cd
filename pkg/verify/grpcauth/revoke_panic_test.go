package grpcauth_test

import (
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	testpb "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/tokenagent/tokenagent/pkg/verify"
	"github.com/tokenagent/tokenagent/pkg/verify/grpcauth"
)

// A panicking stream has a codec that panics.
type panicking struct{ grpc.ServerStream }

func (panicking) SendMsg(any) error { panic("a bad codec") }

// TestPanicOfATransferCanBeRecovered: the panic occurs in the handler's goroutine, so an
// outer interceptor can recover it.
func TestPanicOfATransferCanBeRecovered(t *testing.T) {
	recovers := func(srv any, ss grpc.ServerStream, _ *grpc.StreamServerInfo, handler grpc.StreamHandler) (err error) {
		defer func() {
			if v := recover(); v != nil {
				err = status.Error(codes.Internal, "recovered")
			}
		}()
		return handler(srv, panicking{ss})
	}
	a := following(t, good)
	auth := grpcauth.StreamServerInterceptor(a, grpcauth.Options{EndRevokedStreams: true})
	conn := connectTo(t, newHeld(func(testpb.TestService_FullDuplexCallServer) error { return nil }), grpc.ChainStreamInterceptor(recovers, auth))
	if _, err := open(t, conn, good).Recv(); status.Code(err) != codes.Internal {
		t.Errorf("%v, want what the recovery interceptor says", err)
	}
}

// TestP3_NoMetadataAfterTheRevocation: a handler that keeps running sends no metadata.
func TestP3_NoMetadataAfterTheRevocation(t *testing.T) {
	a := following(t, good+"\n"+old+" previous")
	h := newHeld(func(s testpb.TestService_FullDuplexCallServer) error {
		<-s.Context().Done()
		s.SetTrailer(metadata.Pairs("secret", "x"))
		if err := s.SetHeader(metadata.Pairs("secret", "x")); status.Code(err) != codes.Unauthenticated {
			t.Errorf("SetHeader: %v", err)
		}
		if err := s.SendHeader(metadata.Pairs("secret", "x")); status.Code(err) != codes.Unauthenticated {
			t.Errorf("SendHeader: %v", err)
		}
		return nil
	})
	conn := connectTo(t, h, grpc.StreamInterceptor(grpcauth.StreamServerInterceptor(a, grpcauth.Options{EndRevokedStreams: true})))
	s := open(t, conn, old)
	if err := h.wait(t, h.begun); err != nil {
		t.Fatal(err)
	}
	if err := a.Revoke(verify.Digest(old)); err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := s.Recv(); err != nil {
			break
		}
	}
	if got := s.Trailer().Get("secret"); len(got) > 0 {
		t.Errorf("the trailer has %q", got)
	}
}
