package extauthz

import (
	"context"
	"errors"
	"io"
	"slices"
	"testing"
	"time"

	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	"github.com/tokenagent/tokenagent/internal/testlog"
	"github.com/tokenagent/tokenagent/pkg/verify"
)

const authorization = "envoy.service.auth.v3.Authorization"

func TestHealthFollowsTheAgent(t *testing.T) {
	t.Parallel()
	a, path := startAgent(t, "", (&testlog.Log{}).Logger())
	s := New(alone(a, nil), (&testlog.Log{}).Logger())
	h := healthpb.NewHealthClient(serve(t, s, func() { _ = s.Close() }, "unix"))
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	is := func(want healthpb.HealthCheckResponse_ServingStatus) {
		t.Helper()
		for _, service := range []string{"", authorization} {
			if r, err := h.Check(ctx, &healthpb.HealthCheckRequest{Service: service}); err != nil || r.GetStatus() != want {
				t.Errorf("%q: %v, %v; want %v", service, r, err, want)
			}
		}
	}
	next := watch(ctx, t, h, authorization)
	is(healthpb.HealthCheckResponse_NOT_SERVING)
	if got, err := next(); got != healthpb.HealthCheckResponse_NOT_SERVING {
		t.Errorf("watch before the source: %v, %v", got, err)
	}
	write(t, path, good)
	if got, err := next(); got != healthpb.HealthCheckResponse_SERVING {
		t.Errorf("watch, loaded: %v, %v", got, err)
	}
	is(healthpb.HealthCheckResponse_SERVING)
	if _, err := h.Check(ctx, &healthpb.HealthCheckRequest{Service: "other"}); status.Code(err) != codes.NotFound {
		t.Errorf("an unknown service: %v", err)
	}
	if got, err := watch(ctx, t, h, "other")(); got != healthpb.HealthCheckResponse_SERVICE_UNKNOWN {
		t.Errorf("watch of an unknown service: %v, %v", got, err)
	}
}

func watch(ctx context.Context, t *testing.T, h healthpb.HealthClient, service string) (next func() (healthpb.HealthCheckResponse_ServingStatus, error)) {
	t.Helper()
	stream, err := h.Watch(ctx, &healthpb.HealthCheckRequest{Service: service})
	if err != nil {
		t.Fatal(err)
	}
	return func() (healthpb.HealthCheckResponse_ServingStatus, error) {
		r, err := stream.Recv()
		if err != nil {
			return -1, err
		}
		return r.GetStatus(), nil
	}
}

// gate is an Agent whose verifications wait for release.
type gate struct {
	broken
	entered, release chan struct{}
}

func (g gate) Verify(ctx context.Context, token string) (p *verify.Principal, err error) {
	close(g.entered)
	<-g.release
	return g.broken.Verify(ctx, token)
}

// TestShutdownDrains: watches report the shutdown and end, open calls are answered, and
// Shutdown returns although the clients stay connected.
func TestShutdownDrains(t *testing.T) {
	t.Parallel()
	g := gate{entered: make(chan struct{}), release: make(chan struct{})}
	s := New(alone(g, nil), (&testlog.Log{}).Logger())
	conn := serve(t, s, func() { _ = s.Close() }, "tcp")
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	next := watch(ctx, t, healthpb.NewHealthClient(conn), "")
	if got, err := next(); got != healthpb.HealthCheckResponse_SERVING {
		t.Fatalf("watch: %v, %v", got, err)
	}
	answered := make(chan error, 1)
	go func() {
		_, err := authv3.NewAuthorizationClient(conn).Check(ctx, joined())
		answered <- err
	}()
	<-g.entered
	ended := make(chan error, 1)
	go func() { ended <- s.Shutdown(ctx) }()
	if got, err := next(); got != healthpb.HealthCheckResponse_NOT_SERVING {
		t.Errorf("watch at the end: %v, %v", got, err)
	}
	if _, err := next(); status.Code(err) != codes.Unavailable {
		t.Errorf("the watch goes on: %v", err)
	}
	close(g.release)
	if err := <-answered; err != nil {
		t.Errorf("a call under way: %v", err)
	}
	if err := <-ended; err != nil {
		t.Errorf("shutdown: %v", err)
	}
}

func TestShutdownCutsOffWhenItsTimeIsOver(t *testing.T) {
	t.Parallel()
	g := gate{entered: make(chan struct{}), release: make(chan struct{})}
	s := New(alone(g, nil), (&testlog.Log{}).Logger())
	c := authv3.NewAuthorizationClient(serve(t, s, func() { _ = s.Close() }, "tcp"))
	answered := make(chan error, 1)
	go func() {
		_, err := c.Check(t.Context(), joined())
		answered <- err
	}()
	<-g.entered
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Shutdown(ctx) }()
	cancel()
	if err := <-answered; status.Code(err) != codes.Unavailable {
		t.Errorf("a call that outlasts the drain: %v", err)
	}
	close(g.release)
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("shutdown: %v", err)
	}
}

// TestNothingElseIsServed: there is no other service, in particular no reflection.
func TestNothingElseIsServed(t *testing.T) {
	t.Parallel()
	a, _ := startAgent(t, good, (&testlog.Log{}).Logger())
	s := New(alone(a, nil), (&testlog.Log{}).Logger())
	var names []string
	for name := range s.grpc.GetServiceInfo() {
		names = append(names, name)
	}
	slices.Sort(names)
	if want := []string{authorization, "grpc.health.v1.Health"}; !slices.Equal(names, want) {
		t.Errorf("%q", names)
	}
	conn := serve(t, s, func() { _ = s.Close() }, "tcp")
	stream, err := conn.NewStream(t.Context(), &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}, "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo")
	if err == nil {
		err = stream.RecvMsg(&healthpb.HealthCheckResponse{})
	}
	if status.Code(err) != codes.Unimplemented || errors.Is(err, io.EOF) {
		t.Errorf("reflection: %v", err)
	}
}

// TestServeAfterClose: it is not an error.
func TestServeAfterClose(t *testing.T) {
	t.Parallel()
	s := New(alone(broken{}, nil), (&testlog.Log{}).Logger())
	_ = s.Close()
	_ = serve(t, s, func() {}, "tcp")
}
