package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	commonpb "github.com/dapr/dapr/pkg/proto/common/v1"
	runtimepb "github.com/dapr/dapr/pkg/proto/runtime/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/tokenagent/tokenagent/agent"
)

const (
	first  = "the-first-token-of-this-test"
	second = "the-second-token-of-this-test"
)

// put replaces the token file by a rename.
func put(t *testing.T, path, content string) {
	t.Helper()
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

func listen(t *testing.T) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func dial(t *testing.T, l net.Listener) *grpc.ClientConn {
	t.Helper()
	conn, err := grpc.NewClient(l.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// with returns the context of a call that daprd makes with token.
func with(t *testing.T, token string) context.Context {
	t.Helper()
	if token == "" {
		return t.Context()
	}
	return metadata.AppendToOutgoingContext(t.Context(), "dapr-api-token", token)
}

func invoke(t *testing.T, conn *grpc.ClientConn, token string) error {
	t.Helper()
	_, err := runtimepb.NewAppCallbackClient(conn).OnInvoke(with(t, token), &commonpb.InvokeRequest{Method: "hello"})
	return err
}

func deliver(t *testing.T, conn *grpc.ClientConn, token string) error {
	t.Helper()
	_, err := runtimepb.NewAppCallbackClient(conn).OnTopicEvent(with(t, token), &runtimepb.TopicEventRequest{
		PubsubName: "pubsub", Topic: "orders", Path: "/orders", DataContentType: "application/json", Data: []byte("{}"),
	})
	return err
}

// TestRotation drives the app as daprd does, through a rotation and a revocation.
// A platform has put the first token into its environment as well.
func TestRotation(t *testing.T) {
	file := filepath.Join(t.TempDir(), "token")
	put(t, file, first)
	t.Setenv("APP_API_TOKEN_FILE", file)
	t.Setenv("APP_API_TOKEN", first)
	listener := listen(t)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- run(ctx, listener) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	conn := dial(t, listener)
	want := func(token string, code codes.Code) {
		t.Helper()
		if err := invoke(t, conn, token); status.Code(err) != code {
			t.Errorf("OnInvoke: %v, want %s", err, code)
		}
		if err := deliver(t, conn, token); status.Code(err) != code {
			t.Errorf("OnTopicEvent: %v, want %s", err, code)
		}
	}
	// daprd sends no token with these two.
	if _, err := runtimepb.NewAppCallbackHealthCheckClient(conn).HealthCheck(t.Context(), &emptypb.Empty{}); err != nil {
		t.Errorf("the health check: %v", err)
	}
	if r, err := runtimepb.NewAppCallbackClient(conn).ListTopicSubscriptions(t.Context(), &emptypb.Empty{}); err != nil || len(r.GetSubscriptions()) != 1 {
		t.Errorf("the subscriptions: %v, %v", r, err)
	}
	want("", codes.Unauthenticated)
	want(second, codes.Unauthenticated)
	want(first, codes.OK)

	put(t, file, second)
	until(t, "the new token is accepted", func() bool { return invoke(t, conn, second) == nil })
	want(second, codes.OK)
	want(first, codes.OK) // daprd has not been restarted yet

	sum := sha256.Sum256([]byte(first))
	put(t, file, second+"\nrevoked "+hex.EncodeToString(sum[:])+"\n")
	until(t, "the old token is refused", func() bool { return invoke(t, conn, first) != nil })
	want(first, codes.Unauthenticated)
	want(second, codes.OK)
}

// TestWhatTheSDKDoesWithTheVariable shows why run unsets it: the SDK refuses the new
// token, with a status that daprd takes for the app's own error.
func TestWhatTheSDKDoesWithTheVariable(t *testing.T) {
	for name, c := range map[string]struct {
		variable string
		after    codes.Code
	}{
		"unset": {"", codes.OK},
		"set":   {first, codes.Unknown},
	} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "token")
			put(t, file, first)
			t.Setenv("APP_API_TOKEN", c.variable)
			a, err := agent.Start(t.Context(), agent.Config{TokenFile: file, Logger: slog.New(slog.DiscardHandler)})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = a.Close() })
			listener := listen(t)
			s, err := newService(listener, a)
			if err != nil {
				t.Fatal(err)
			}
			ended := make(chan error, 1)
			go func() { ended <- s.Start() }()
			conn := dial(t, listener)
			if err := invoke(t, conn, first); err != nil {
				t.Errorf("before the rotation: %v", err)
			}
			t.Cleanup(func() { // the service is up by now
				_ = s.Stop()
				if err := <-ended; err != nil {
					t.Log(err)
				}
			})
			put(t, file, second)
			until(t, "the agent has the new token", func() bool { token, err := a.Token(); return err == nil && token == second })
			if err := invoke(t, conn, second); status.Code(err) != c.after {
				t.Errorf("after the rotation: %v, want %s", err, c.after)
			}
		})
	}
}
