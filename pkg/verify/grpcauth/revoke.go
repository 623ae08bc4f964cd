package grpcauth

import (
	"context"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"github.com/tokenagent/tokenagent/pkg/verify"
	"github.com/tokenagent/tokenagent/pkg/verify/internal/wire"
)

// errRevoked is also the status of a call whose token was revoked before it.
var errRevoked = refusal(wire.Invalid)

// endWhenRevoked calls handler with ss. When p's credential is revoked, endWhenRevoked
// cancels the handler's context and makes its Send and Recv fail. It then ignores the
// result of the handler and returns Unauthenticated.
func (g *guard) endWhenRevoked(p *verify.Principal, srv any, ss grpc.ServerStream, handler grpc.StreamHandler) error {
	ctx, cancel := context.WithCancelCause(ss.Context())
	revoked := make(chan struct{})
	var waiting sync.WaitGroup
	defer waiting.Wait()
	defer cancel(nil)
	waiting.Go(func() {
		if g.revocations.AwaitRevocation(ctx, p) {
			close(revoked)
			cancel(errRevoked)
		}
	})
	s := &revocableStream{stream{ss, ctx}, revoked}
	err := handler(srv, s)
	if s.isRevoked() {
		return errRevoked
	}
	return err
}

// A revocableStream is a ServerStream on which no message passes after revoked is
// closed.
type revocableStream struct {
	stream
	revoked <-chan struct{}
}

func (s *revocableStream) SendMsg(m any) error {
	return s.untilRevoked(func() error { return s.ServerStream.SendMsg(m) })
}

func (s *revocableStream) RecvMsg(m any) error {
	return s.untilRevoked(func() error { return s.ServerStream.RecvMsg(m) })
}

// untilRevoked returns what transfer returns, or Unauthenticated as soon as the
// stream is revoked. A transfer that waits for the other side ends only with the
// stream, so it runs in a goroutine, which ends when the handler returns.
func (s *revocableStream) untilRevoked(transfer func() error) error {
	if s.isRevoked() {
		return errRevoked
	}
	type outcome struct {
		err   error
		panic any // a codec may panic
	}
	done := make(chan outcome, 1)
	go func() {
		var o outcome
		defer func() {
			o.panic = recover()
			done <- o
		}()
		o.err = transfer()
	}()
	select {
	case o := <-done:
		if o.panic != nil {
			panic(o.panic) // in the handler's goroutine, so that an interceptor can recover it
		}
		if s.isRevoked() {
			return errRevoked
		}
		return o.err
	case <-s.revoked:
		return errRevoked
	}
}

// SetHeader and the methods below fail after the revocation, so that no metadata
// reaches the revoked caller.
func (s *revocableStream) SetHeader(md metadata.MD) error {
	if s.isRevoked() {
		return errRevoked
	}
	return s.ServerStream.SetHeader(md)
}

func (s *revocableStream) SendHeader(md metadata.MD) error {
	if s.isRevoked() {
		return errRevoked
	}
	return s.ServerStream.SendHeader(md)
}

func (s *revocableStream) SetTrailer(md metadata.MD) {
	if !s.isRevoked() {
		s.ServerStream.SetTrailer(md)
	}
}

func (s *revocableStream) isRevoked() bool {
	select {
	case <-s.revoked:
		return true
	default:
		return false
	}
}
