// Package grpcauth lets a gRPC call in if, and only if, its metadata carries a
// token that a [verify.Verifier] accepts.
//
// [UnaryServerInterceptor] and [StreamServerInterceptor] take the token from
// the incoming metadata, ask the verifier, and call the handler with the
// [verify.Principal] in its context. A refusal is the status Unauthenticated,
// the same for every reason, or Unavailable where nobody can say yet or the
// verifier failed in an unknown way; never Unimplemented or NotFound, which
// daprd takes for 'delivered'.
//
// The handler still sees the token in its metadata, since incoming metadata
// cannot be changed without copying all of it: do not forward it blindly.
// A stream is checked once, when it opens; it is not cut when its token's
// overlap ends, and with [Options.EndRevokedStreams] it is when its token is
// revoked. A method that the server does not have never gets here: grpc
// answers Unimplemented before any interceptor runs, unless the server has an
// unknown-service handler.
//
// On the other end, [PerRPCCredentials] sends the current token with each call,
// and [UnaryClientInterceptor] tries once more where that was superseded while
// the call was under way.
package grpcauth

import (
	"context"

	"google.golang.org/grpc"

	"github.com/tokenagent/tokenagent/pkg/verify"
)

// UnaryServerInterceptor returns an interceptor that calls the handler for
// what v accepts and what o exempts. It is safe for concurrent use. It panics,
// when it is built, if v is nil or not fit for o, or [Options.Validate] reports an
// error.
func UnaryServerInterceptor(v verify.Verifier, o Options) grpc.UnaryServerInterceptor {
	g := newGuard(v, o)
	return func(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
		p, err := g.check(ctx, info.FullMethod)
		if err != nil {
			return nil, err
		}
		if p != nil && !o.WithoutPrincipal {
			ctx = verify.NewContext(ctx, p)
		}
		return handler(ctx, req)
	}
}

// StreamServerInterceptor is [UnaryServerInterceptor] for streams of every
// kind. The handler is given a wrapped stream only where there is a Principal
// to attach.
func StreamServerInterceptor(v verify.Verifier, o Options) grpc.StreamServerInterceptor {
	g := newGuard(v, o)
	return func(srv any, ss grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
		p, err := g.check(ss.Context(), info.FullMethod)
		if err != nil {
			return err
		}
		ctx := ss.Context()
		if p != nil && !o.WithoutPrincipal {
			ctx = verify.NewContext(ctx, p)
		}
		switch {
		case p != nil && g.revocations != nil:
			return g.untilRevoked(ctx, p, ss, func(ss grpc.ServerStream) error { return handler(srv, ss) })
		case ctx != ss.Context():
			ss = &stream{ServerStream: ss, ctx: ctx}
		}
		return handler(srv, ss)
	}
}

// A stream is a ServerStream under a context of ours: grpc has no other way to
// hand one to a stream's handler.
type stream struct {
	grpc.ServerStream
	ctx context.Context //nolint:containedctx // see above
}

func (s *stream) Context() context.Context { return s.ctx }
