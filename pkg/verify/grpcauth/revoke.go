package grpcauth

import (
	"context"
	"runtime"
	"sync/atomic"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"github.com/tokenagent/tokenagent/pkg/verify"
)

// untilRevoked runs handler on ss until it returns, or until p's credential is
// revoked. Then it returns Unauthenticated without waiting for the handler: only
// the return of an interceptor ends the call, and with it a read or a write that
// the handler is blocked in. So the handler runs on a goroutine of its own, and a
// handler that does not look at its context lives on for as long as it likes,
// cut off from the caller.
func (g *guard) untilRevoked(ctx context.Context, p *verify.Principal, ss grpc.ServerStream, handler func(grpc.ServerStream) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	s := &cutStream{ServerStream: ss, ctx: ctx, refusal: g.unauthenticated}
	// awaiting ends with the handler.
	awaiting, ended := context.WithCancel(ctx)
	done := make(chan struct{})
	var err error
	var returned bool
	var panicked any
	go func() {
		defer close(done)
		defer ended()
		defer func() {
			if !returned {
				panicked = recover()
			}
		}()
		err = handler(s)
		returned = true
	}()
	if g.revocations.AwaitRevocation(awaiting, p) {
		s.cut.Store(true)
		cancel(g.unauthenticated)
		// If the handler panics from now on, nobody hears of it, as with
		// http.TimeoutHandler.
		return g.unauthenticated
	}
	<-done
	switch {
	case returned:
	case panicked != nil:
		panic(panicked) // where those who recover the panics of handlers expect it
	default:
		runtime.Goexit() // as the handler did
	}
	return err
}

// A cutStream is a ServerStream that can be cut off. After that nothing passes
// either way, and the underlying stream, which is not the handler's any more, is
// left alone.
type cutStream struct {
	grpc.ServerStream
	ctx     context.Context //nolint:containedctx // as stream
	cut     atomic.Bool
	refusal error
}

func (s *cutStream) Context() context.Context { return s.ctx }

func (s *cutStream) SendMsg(m any) error {
	if s.cut.Load() {
		return s.refusal
	}
	return s.ServerStream.SendMsg(m)
}

func (s *cutStream) RecvMsg(m any) error {
	if s.cut.Load() {
		return s.refusal
	}
	err := s.ServerStream.RecvMsg(m)
	if s.cut.Load() {
		return s.refusal // what came in meanwhile came from nobody that is known
	}
	return err
}

func (s *cutStream) SetHeader(md metadata.MD) error {
	if s.cut.Load() {
		return s.refusal
	}
	return s.ServerStream.SetHeader(md)
}

func (s *cutStream) SendHeader(md metadata.MD) error {
	if s.cut.Load() {
		return s.refusal
	}
	return s.ServerStream.SendHeader(md)
}

func (s *cutStream) SetTrailer(md metadata.MD) {
	if !s.cut.Load() {
		s.ServerStream.SetTrailer(md)
	}
}
