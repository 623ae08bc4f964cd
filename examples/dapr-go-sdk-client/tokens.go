package main

import (
	"context"
	"log/slog"
	"net/http"
	"path/filepath"
	"sync/atomic"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/tokenagent/tokenagent/agent"
)

// tokens knows the token that daprd accepts. daprd accepts only the DAPR_API_TOKEN with
// which it started, and a rotated Secret is ahead of it until daprd is restarted. So
// when daprd refuses one token of the Secret, the next calls send the other one.
type tokens struct {
	current, previous *agent.Agent
	usePrevious       atomic.Bool
}

// openTokens reads the directory of a mounted Secret with the keys token and, while
// there is one, token-previous.
func openTokens(ctx context.Context, dir string, log *slog.Logger) (*tokens, error) {
	current, err := agent.Start(ctx, agent.Config{TokenFile: filepath.Join(dir, "token"), Overlap: -1, Logger: log})
	if err != nil {
		return nil, err
	}
	previous, err := agent.Start(ctx, agent.Config{
		TokenFile: filepath.Join(dir, "token-previous"), Name: "previous", WaitForSource: true, Overlap: -1, Logger: log,
	})
	if err != nil {
		_ = current.Close()
		return nil, err
	}
	return &tokens{current: current, previous: previous}, nil
}

func (t *tokens) close() {
	_ = t.current.Close()
	_ = t.previous.Close()
}

// Token implements verify.TokenSource.
func (t *tokens) Token() (string, error) { return t.token(t.usePrevious.Load()) }

func (t *tokens) token(previous bool) (string, error) {
	if previous {
		if token, err := t.previous.Token(); err == nil {
			return token, nil
		}
	}
	return t.current.Token()
}

// refused notes that daprd has refused token. If token is still the one to send, the
// other one is from now on.
func (t *tokens) refused(token string) {
	previous := t.usePrevious.Load()
	if now, err := t.token(previous); err == nil && now == token {
		t.usePrevious.CompareAndSwap(previous, !previous)
	}
}

// roundTripper notes the tokens that daprd refuses over HTTP. It goes inside of
// httpauth.Transport, which repeats a request that was answered 401 if Token returns
// another token by then.
type roundTripper struct {
	tokens *tokens
	base   http.RoundTripper
}

func (r roundTripper) RoundTrip(request *http.Request) (*http.Response, error) {
	resp, err := r.base.RoundTrip(request)
	if err == nil && resp.StatusCode == http.StatusUnauthorized {
		r.tokens.refused(request.Header.Get("Dapr-Api-Token"))
	}
	return resp, err
}

// interceptor does the same for gRPC. It goes inside of grpcauth.UnaryClientInterceptor.
func (t *tokens) interceptor(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
	token, _ := t.Token() // without one the call fails by itself
	err := invoke(ctx, method, req, reply, cc, opts...)
	if status.Code(err) == codes.Unauthenticated {
		t.refused(token)
	}
	return err
}
