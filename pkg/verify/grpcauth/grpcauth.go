// Package grpcauth authenticates gRPC calls: a call reaches the handler only if
// its metadata carries a token that a [verify.Verifier] accepts.
//
// [UnaryServerInterceptor] and [StreamServerInterceptor] read the token from the
// incoming metadata, ask the verifier, and call the handler with the
// [verify.Principal] in its context.
//
// A refused call gets the status Unauthenticated, the same for every reason. It gets
// Unavailable if no token source is loaded yet, if too many signatures are being
// checked, or if the verifier fails with an unknown error. It never gets
// Unimplemented or NotFound, which daprd takes as "delivered".
//
// The handler still finds the token in its metadata, because removing it would
// copy all of the metadata. Do not forward incoming metadata without removing the
// token. If the server does not have the called method, grpc itself answers
// Unimplemented before any interceptor runs, unless the server has an
// unknown-service handler.
//
// [PerRPCCredentials] and [UnaryClientInterceptor] are for senders. The former sends
// the current token with each call. The latter retries a call whose token was
// superseded in the meantime.
package grpcauth

import (
	"context"

	"google.golang.org/grpc"

	"github.com/tokenagent/tokenagent/pkg/verify"
)

// UnaryServerInterceptor returns an interceptor that calls the handler for calls
// whose token v accepts and for calls that o exempts. It is safe for concurrent
// use. UnaryServerInterceptor panics if v is nil, if [Options.Validate] returns an
// error, or if [Options.EndRevokedStreams] is set and v is no
// [verify.RevocationWaiter].
func UnaryServerInterceptor(v verify.Verifier, o Options) grpc.UnaryServerInterceptor {
	g := newGuard(v, o)
	return func(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
		p, err := g.authenticate(ctx, info.FullMethod)
		if err != nil {
			return nil, err
		}
		if p != nil && !o.WithoutPrincipal {
			ctx = verify.NewContext(ctx, p)
		}
		return handler(ctx, req)
	}
}

// StreamServerInterceptor is [UnaryServerInterceptor] for streams. A stream is
// authenticated once, when it opens. It stays open when its token expires. It also
// stays open when its token is revoked, unless [Options.EndRevokedStreams] is set.
func StreamServerInterceptor(v verify.Verifier, o Options) grpc.StreamServerInterceptor {
	g := newGuard(v, o)
	return func(srv any, ss grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
		p, err := g.authenticate(ss.Context(), info.FullMethod)
		if err != nil {
			return err
		}
		if p != nil && !o.WithoutPrincipal {
			ss = &stream{ss, verify.NewContext(ss.Context(), p)}
		}
		if p != nil && g.revocations != nil {
			return g.endWhenRevoked(p, srv, ss, handler)
		}
		return handler(srv, ss)
	}
}

// A stream is a ServerStream with another context.
type stream struct {
	grpc.ServerStream
	ctx context.Context //nolint:containedctx // grpc has no other way to pass one to a stream's handler
}

func (s *stream) Context() context.Context { return s.ctx }
