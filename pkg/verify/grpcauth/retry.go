package grpcauth

import (
	"context"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// UnaryClientInterceptor returns an interceptor that sends a unary call once
// more if it fails with Unauthenticated and the token that [PerRPCCredentials]
// sent with it has been superseded meanwhile. It attaches nothing itself: the
// two belong on the same connection, and without the credentials, or with
// credentials of somebody else, it changes nothing.
//
// Unauthenticated means that the call was not carried out, so every method may
// be sent again. Call options apply to both: grpc.OnFinish is called twice, and
// grpc.Header and grpc.Trailer end with what came last. The call's deadline
// covers both. A stream is not sent again, since what was written to it is
// gone; whoever opens it may open another.
func UnaryClientInterceptor() grpc.UnaryClientInterceptor {
	return func(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
		call := &attempt{}
		ctx = context.WithValue(ctx, attemptKey{}, call)
		err := invoke(ctx, method, req, reply, cc, opts...)
		if status.Code(err) != codes.Unauthenticated || ctx.Err() != nil || !call.superseded() {
			return err
		}
		return invoke(ctx, method, req, reply, cc, opts...)
	}
}

type attemptKey struct{}

// An attempt knows which token its call was sent with last. The nil attempt is
// that of a call that nobody would send again. Where there are two in a
// context, the inner one learns of it and the outer one does nothing.
type attempt struct {
	mu      sync.Mutex
	sent    string // "" for none
	current func() (string, error)
}

func (a *attempt) remember(token string, current func() (string, error)) {
	if a == nil {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.sent, a.current = token, current
}

// superseded reports whether a token was sent, and there is another one now.
func (a *attempt) superseded() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.sent == "" {
		return false
	}
	token, err := a.current()
	return err == nil && token != "" && token != a.sent
}
