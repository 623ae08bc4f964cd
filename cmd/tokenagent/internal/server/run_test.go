package server

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
)

func TestAddressInUseNamesItsFlag(t *testing.T) {
	t.Parallel()
	a, _ := startAgent(t, good)
	d := runDaemon(t, a, Options{})
	taken := strings.TrimPrefix(d.main, "http://")
	for flag, o := range map[string]Options{
		"--listen: ":       {Listen: taken, AdminListen: freeAddr(t)},
		"--admin-listen: ": {Listen: freeAddr(t), AdminListen: taken},
	} {
		o.Logger = slog.New(slog.DiscardHandler)
		if err := Run(t.Context(), single(a, o), o); err == nil || !strings.HasPrefix(err.Error(), flag) {
			t.Errorf("%s: %v", flag, err)
		}
	}
}

func TestHangupReads(t *testing.T) {
	t.Parallel()
	a, path := startAgent(t, good)
	hangup := make(chan os.Signal)
	d := runDaemon(t, a, Options{Hangup: hangup})
	write(t, path, "short")
	hangup <- syscall.SIGHUP
	until(t, "the error is logged", func() bool { return strings.Contains(d.log.String(), "was not reloaded") })
	if strings.Contains(d.log.String(), "CANARY") {
		t.Error("the log shows a token")
	}
}

// TestShutdownDelayAcceptsNewConnections: during the delay all listeners answer new
// connections, while the probes report that the process is not ready. Then it ends.
func TestShutdownDelayAcceptsNewConnections(t *testing.T) {
	t.Parallel()
	a, path := startAgent(t, good)
	socket := filepath.Join(t.TempDir(), "authz.sock")
	d := runDaemon(t, a, Options{GRPCListen: "unix://" + socket, ShutdownDelay: 3 * time.Second})
	conn := dialGRPC(t, "unix:"+socket)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	watch, follows := watchHealth(ctx, t, conn)
	follows(healthpb.HealthCheckResponse_SERVING)
	begun := time.Now()
	d.stop()
	follows(healthpb.HealthCheckResponse_NOT_SERVING)
	if r := ask(t, "GET", d.admin+"/readyz"); r.code != http.StatusServiceUnavailable {
		t.Errorf("readyz: %d", r.code)
	}
	if r := ask(t, "GET", d.admin+"/status"); !strings.Contains(r.body, `"ready": false,`) || !strings.Contains(r.body, `"draining": true`) {
		t.Errorf("status: %s", r.body)
	}
	if r := ask(t, "GET", d.main, "dapr-api-token: "+good); r.code != http.StatusOK { // over a connection of its own
		t.Errorf("a new connection: %d", r.code)
	}
	write(t, path, next) // and it goes on reading its source
	until(t, "the new token is accepted", func() bool { return ask(t, "GET", d.main, "dapr-api-token: "+next).code == http.StatusOK })
	answer, err := authv3.NewAuthorizationClient(dialGRPC(t, "unix:"+socket)).Check(ctx, asEnvoy([]string{"dapr-api-token: " + next}, false))
	if err != nil || answer.GetOkResponse() == nil {
		t.Errorf("a new connection for gRPC: %v, %v", answer, err)
	}
	if r, err := watch.Recv(); err == nil { // it ends, and does not repeat itself
		t.Errorf("the watch: %v", r)
	}
	if err := <-d.ended; err != nil {
		t.Errorf("run: %v", err)
	}
	if took := time.Since(begun); took < 3*time.Second {
		t.Errorf("it ended after %s", took)
	}
}

// TestSecondSignalEndsTheShutdownDelay, because an operator who sends two does not wait.
func TestSecondSignalEndsTheShutdownDelay(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		again := make(chan os.Signal, 1)
		begun := time.Now()
		time.AfterFunc(time.Minute, func() { again <- syscall.SIGINT })
		if err := wait(time.Hour, nil, again); err != nil || time.Since(begun) != time.Minute {
			t.Errorf("%v after %s", err, time.Since(begun))
		}
	})
}

// TestShutdownDelayEndsWithAListener: the delay ends when a listener fails.
func TestShutdownDelayEndsWithAListener(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		failed := make(chan error, 1)
		begun := time.Now()
		if err := wait(time.Minute, failed, nil); err != nil || time.Since(begun) != time.Minute {
			t.Errorf("%v after %s", err, time.Since(begun))
		}
		failed <- io.ErrUnexpectedEOF
		if err := wait(time.Hour, failed, nil); !errors.Is(err, io.ErrUnexpectedEOF) || time.Since(begun) != time.Minute {
			t.Errorf("%v after %s", err, time.Since(begun))
		}
	})
}
