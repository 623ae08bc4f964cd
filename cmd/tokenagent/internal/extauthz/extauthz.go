// Package extauthz answers Envoy's external authorization over gRPC
// (envoy.service.auth.v3.Authorization). It follows the rules of forward auth: both ask
// the same [httpauth.Guard], so they decide a request in the same way. The server also
// answers grpc.health.v1.Health, and has no reflection.
package extauthz

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/url"
	"time"

	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"google.golang.org/grpc"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"

	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/headername"
	"github.com/tokenagent/tokenagent/pkg/verify/httpauth"
)

// Realms find the realm of a request, and report whether any realm can decide.
type Realms interface {
	Ready() bool
	Updated() <-chan struct{} // closed at the next change of Ready
	// Rule returns the Rule for one decision. If named is true, it is the Rule of the realm
	// called name, even if name is "". Otherwise it is the Rule of the realm of host, the
	// host of the request. If there is no such realm, or if host is malformed, the Rule
	// refuses every token.
	Rule(name string, named bool, host string) *Rule
}

// Extension is the context extension in which a route of Envoy names the realm of
// its requests (ExtAuthzPerRoute, check_settings.context_extensions).
const Extension = "realm"

// A Rule decides about the requests of one realm. It is immutable.
type Rule struct {
	guard     *httpauth.Guard
	fields    []field  // the headers that guard reads
	protected []string // the names of these headers and of the identity headers
}

// NewRule returns the Rule that asks g, which must be a Guard for forward auth.
func NewRule(g *httpauth.Guard) *Rule {
	h := g.Headers()
	return &Rule{g, fields(h), append(h, headername.Subject, headername.Method)}
}

// These limit the resources that an unauthenticated client can hold.
const (
	// A CheckRequest holds the request's headers, which Envoy limits to 60 KiB by
	// default. A body (with_request_body) is of no use here.
	maxMessageBytes   = 1 << 20
	maxHeaderBytes    = 64 << 10
	maxStreams        = 1000
	connectionTimeout = 10 * time.Second // for handshakes
	maxIdle           = 2 * time.Minute
	pingAfter         = time.Minute      // idle time before a ping, which detects dead clients
	pingTimeout       = 20 * time.Second // for the answer to the ping
	minPingInterval   = 5 * time.Second  // between two pings of a client
)

// A Server answers gateways on one listener. It is safe for concurrent use.
type Server struct {
	authv3.UnimplementedAuthorizationServer
	realms Realms
	url    *url.URL // shared by all requests; a Guard does not change it
	grpc   *grpc.Server
	log    *slog.Logger
	drain  func()
}

// New returns a Server that asks realms. It logs only panics. more are further options of
// the server, such as credentials, which override its own options.
func New(realms Realms, log *slog.Logger, more ...grpc.ServerOption) *Server {
	draining, drain := context.WithCancel(context.Background())
	s := &Server{realms: realms, url: &url.URL{}, log: log, drain: drain}
	s.grpc = grpc.NewServer(append([]grpc.ServerOption{
		grpc.MaxRecvMsgSize(maxMessageBytes),
		grpc.MaxHeaderListSize(maxHeaderBytes),
		grpc.MaxConcurrentStreams(maxStreams),
		grpc.ConnectionTimeout(connectionTimeout),
		grpc.KeepaliveParams(keepalive.ServerParameters{MaxConnectionIdle: maxIdle, Time: pingAfter, Timeout: pingTimeout}),
		// Envoy's connection_keepalive pings idle connections, too.
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: minPingInterval, PermitWithoutStream: true}),
	}, more...)...)
	authv3.RegisterAuthorizationServer(s.grpc, s)
	healthpb.RegisterHealthServer(s.grpc, &health{realms: realms, draining: draining.Done()})
	return s
}

// Serve answers on l, which it closes, until Shutdown or Close, and then returns nil.
func (s *Server) Serve(l net.Listener) error {
	if err := s.grpc.Serve(l); !errors.Is(err, grpc.ErrServerStopped) {
		return err
	}
	return nil // Close came before Serve
}

// Drain changes the health to NOT_SERVING. Watches of the health report this and then end.
// Drain does not affect checks.
func (s *Server) Drain() { s.drain() }

// Shutdown calls Drain, accepts no new calls, and waits for the open calls. When ctx ends,
// Shutdown cuts off the open calls and returns the error of ctx.
func (s *Server) Shutdown(ctx context.Context) error {
	s.drain()
	keep := context.AfterFunc(ctx, s.grpc.Stop)
	s.grpc.GracefulStop() // returns after Stop, too
	if !keep() {
		return ctx.Err()
	}
	return nil
}

// Close closes the listener and all connections at once.
func (s *Server) Close() error {
	s.drain()
	s.grpc.Stop()
	return nil
}
