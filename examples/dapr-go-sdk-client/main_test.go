package main

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	runtimepb "github.com/dapr/dapr/pkg/proto/runtime/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"
)

const (
	first  = "the-first-token-of-this-test"
	second = "the-second-token-of-this-test"
	third  = "the-third-token-of-this-test"
)

// A sidecar answers as daprd does: it takes one token, that of its start.
type sidecar struct {
	runtimepb.UnimplementedDaprServer

	mu      sync.Mutex
	token   string
	refused map[string]int // how often, by token
}

// restart is the start of another daprd, which reads its environment.
func (s *sidecar) restart(token string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.token, s.refused = token, make(map[string]int)
}

func (s *sidecar) accepts(sent []string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(sent) == 1 && sent[0] == s.token {
		return true
	}
	s.refused[strings.Join(sent, ", ")]++
	return false
}

// asked reports whether token was sent and refused.
func (s *sidecar) asked(token string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.refused[token] > 0
}

func (s *sidecar) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !s.accepts(r.Header["Dapr-Api-Token"]) {
		http.Error(w, "invalid api token", http.StatusUnauthorized)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

func (s *sidecar) PublishEvent(ctx context.Context, _ *runtimepb.PublishEventRequest) (*emptypb.Empty, error) {
	md, _ := metadata.FromIncomingContext(ctx)
	if !s.accepts(md["dapr-api-token"]) {
		return nil, status.Error(codes.Unauthenticated, "authentication error: api token mismatch")
	}
	return &emptypb.Empty{}, nil
}

// put replaces the file called key by a rename.
func put(t *testing.T, dir, key, content string) {
	t.Helper()
	path := filepath.Join(dir, key)
	if err := os.WriteFile(path+".new", []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

func until(t *testing.T, what string, cond func() bool) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	limit := time.After(20 * time.Second)
	for !cond() {
		select {
		case <-tick.C:
		case <-limit:
			t.Fatalf("not within 20 s: %s", what)
		}
	}
}

// protocols are the ways to a sidecar, each as what publishes one event.
func protocols(t *testing.T, s *sidecar) map[string]func(*tokens) func(context.Context) error {
	t.Helper()
	web := httptest.NewServer(s)
	t.Cleanup(web.Close)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	runtimepb.RegisterDaprServer(server, s)
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(listener) }()
	t.Cleanup(func() {
		server.Stop()
		if err := <-ended; err != nil {
			t.Log(err)
		}
	})
	return map[string]func(*tokens) func(context.Context) error{
		"HTTP": func(tokens *tokens) func(context.Context) error {
			c := newHTTP(tokens, web.Listener.Addr().String())
			t.Cleanup(c.client.CloseIdleConnections)
			return func(ctx context.Context) error { return c.publish(ctx, "{}") }
		},
		"gRPC": func(tokens *tokens) func(context.Context) error {
			c, err := newGRPC(tokens, listener.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(c.Close)
			return func(ctx context.Context) error { return c.PublishEvent(ctx, "pubsub", "orders", "{}") }
		},
	}
}

func open(t *testing.T, dir string) *tokens {
	t.Helper()
	tokens, err := openTokens(t.Context(), dir, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(tokens.close)
	return tokens
}

// TestRotation: no event is refused, neither while the file is ahead of daprd nor
// once daprd has caught up.
func TestRotation(t *testing.T) {
	t.Setenv("DAPR_API_TOKEN", first) // which an SDK of its own would send for ever
	s := &sidecar{}
	for name, connect := range protocols(t, s) {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			put(t, dir, "token", first)
			s.restart(first)
			tokens := open(t, dir)
			send := connect(tokens)
			publish := func(when string) {
				t.Helper()
				if err := send(t.Context()); err != nil {
					t.Errorf("%s: %v", when, err)
				}
			}
			publish("before")

			old := first
			for _, token := range []string{second, third} {
				// As a mounted Secret does at once.
				put(t, dir, "token-previous", old)
				until(t, "the previous token is known", func() bool { got, err := tokens.previous.Token(); return err == nil && got == old })
				put(t, dir, "token", token)
				until(t, "the new token is tried", func() bool {
					publish("while the file is ahead")
					return s.asked(token)
				})
				publish("with the old token again")
				s.restart(token)
				publish("after daprd's restart")
				old = token
			}
		})
	}
}

// TestRestartWhileTheFileIsAhead: an app that starts anew in a pod with an old daprd
// finds that daprd's token, too.
func TestRestartWhileTheFileIsAhead(t *testing.T) {
	s := &sidecar{}
	for name, connect := range protocols(t, s) {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			put(t, dir, "token", second)
			put(t, dir, "token-previous", first)
			s.restart(first)
			if err := connect(open(t, dir))(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestRefused: where daprd takes neither token, the caller learns of it.
func TestRefused(t *testing.T) {
	s := &sidecar{}
	for name, connect := range protocols(t, s) {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			put(t, dir, "token", second)
			put(t, dir, "token-previous", first)
			s.restart(third)
			if err := connect(open(t, dir))(t.Context()); err == nil {
				t.Error("no error")
			}
			if !s.asked(first) || !s.asked(second) {
				t.Errorf("refused are %v, want both tokens", s.refused)
			}
		})
	}
}
