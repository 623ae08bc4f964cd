package grpcauth

import (
	"context"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// UnaryClientInterceptor returns an interceptor that sends a unary call once more
// if it fails with Unauthenticated and the token that [PerRPCCredentials] sent with
// it has been superseded in the meantime. Use it on the same connection as these
// credentials; without them it changes nothing. It is safe for concurrent use.
//
// Unauthenticated means that the server did not carry out the call, so any method
// may be called again. The deadline and the options of the call apply to both
// attempts: grpc.OnFinish is called twice, and grpc.Header and grpc.Trailer hold the
// metadata of the last attempt. Streams are not retried, because the messages that
// were written to them are lost. The caller may open another stream.
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

// An attempt records the token that its call last sent. If a context contains two
// attempts, the credentials use the inner one.
type attempt struct {
	mu      sync.Mutex
	sent    string // "" if no token was sent
	current func() (string, error)
}

func (a *attempt) remember(token string, current func() (string, error)) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.sent, a.current = token, current
}

// superseded reports whether a token was sent and the source now returns another one.
func (a *attempt) superseded() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.sent == "" {
		return false
	}
	token, err := a.current()
	return err == nil && token != "" && token != a.sent
}
