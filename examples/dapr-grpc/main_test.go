package main

import (
	"bytes"
	"context"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	dapr "github.com/dapr/dapr/pkg/proto/runtime/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"
)

const token = "the-token-of-this-test"

// TestMain runs the program itself where the test below starts this binary again.
func TestMain(m *testing.M) {
	if os.Getenv("ADDR") != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

// start runs the program until the test ends; SIGTERM must end it.
func start(t *testing.T) (addr string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte(token), 0o600); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr = l.Addr().String()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	cmd := exec.CommandContext(context.Background(), self)
	cmd.Env = []string{"ADDR=" + addr, "APP_API_TOKEN_FILE=" + file}
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		late := time.AfterFunc(20*time.Second, func() { _ = cmd.Process.Kill() })
		defer late.Stop()
		_ = cmd.Process.Signal(syscall.SIGTERM)
		if err := cmd.Wait(); err != nil {
			t.Errorf("after SIGTERM: %v\n%s", err, out.String())
		}
		if strings.Contains(out.String(), token) {
			t.Error("the output shows the token")
		}
	})
	return addr
}

func TestOnlyTheSidecarMayCall(t *testing.T) {
	conn, err := grpc.NewClient(start(t), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	app := dapr.NewAppCallbackClient(conn)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()

	subscriptions, err := app.ListTopicSubscriptions(ctx, &emptypb.Empty{}, grpc.WaitForReady(true))
	if err != nil || len(subscriptions.GetSubscriptions()) != 1 {
		t.Errorf("subscriptions, which carry no token: %v, %v", subscriptions, err)
	}
	if _, err := app.OnTopicEvent(ctx, &dapr.TopicEventRequest{}); status.Code(err) != codes.Unauthenticated {
		t.Errorf("an event without a token: %v", err)
	}
	if _, err := app.OnTopicEvent(metadata.AppendToOutgoingContext(ctx, "dapr-api-token", token), &dapr.TopicEventRequest{}); err != nil {
		t.Errorf("an event with the token: %v", err)
	}
}
