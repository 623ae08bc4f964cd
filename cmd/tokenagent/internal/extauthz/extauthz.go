// Package extauthz answers Envoy's external authorization over gRPC
// (envoy.service.auth.v3.Authorization) by the rules of forward auth: both ask one
// [httpauth.Guard], so a request is decided alike in both protocols. The server also
// has grpc.health.v1.Health, and no reflection.
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

// Realms find the realm of a request, and tell whether any realm can decide.
type Realms interface {
	Ready() bool
	Updated() <-chan struct{} // closed at the next change of Ready
	// Rule returns the Rule of the realm called name if named is true, even if name is
	// "", and otherwise that of the realm of host, which comes from the request. If there
	// is no such realm, or host is malformed, it returns one that refuses every token. The
	// Rule is for one decision.
	Rule(name string, named bool, host string) *Rule
}

// Extension is the context extension in which a route of Envoy names the realm of
// its requests (ExtAuthzPerRoute, check_settings.context_extensions).
const Extension = "realm"

// A Rule decides about the requests of one realm. It is immutable.
type Rule struct {
	guard  *httpauth.Guard
	fields []field  // that guard reads
	own    []string // their names, and those of the identity headers
}

// NewRule returns the Rule that asks g, which must be one of forward auth.
func NewRule(g *httpauth.Guard) *Rule {
	h := g.Headers()
	return &Rule{g, fields(h), append(h, headername.Subject, headername.Method)}
}

// These limits bound what an unauthenticated client can hold.
const (
	// A CheckRequest holds the request's headers, which Envoy limits to 60 KiB by
	// default. A body (with_request_body) is of no use here.
	maxMessageBytes   = 1 << 20
	maxHeaderBytes    = 64 << 10
	maxStreams        = 1000
	connectionTimeout = 10 * time.Second // for handshakes
	maxIdle           = 2 * time.Minute
	pingAfter         = time.Minute      // of silence, to find clients that have gone
	pingTimeout       = 20 * time.Second // for the answer to it
	minPingInterval   = 5 * time.Second  // between two pings of a client
)

// A Server answers gateways on one listener. It is safe for concurrent use.
type Server struct {
	authv3.UnimplementedAuthorizationServer
	realms Realms
	url    *url.URL // of every request; a Guard changes none
	grpc   *grpc.Server
	log    *slog.Logger
	drain  func()
}

// New returns a Server that asks realms. It logs panics and nothing else. more are
// options of the server, such as credentials, and win over its own.
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

// Drain makes the health NOT_SERVING, and ends its watches after they have said so.
// Checks are answered as before.
func (s *Server) Drain() { s.drain() }

// Shutdown calls Drain, accepts no new calls, and lets those that run end. It cuts them off when ctx ends, and then returns ctx's error.
func (s *Server) Shutdown(ctx context.Context) error {
	s.drain()
	keep := context.AfterFunc(ctx, s.grpc.Stop)
	s.grpc.GracefulStop() // returns after Stop, too
	if !keep() {
		return ctx.Err()
	}
	return nil
}

// Close ends everything at once.
func (s *Server) Close() error {
	s.drain()
	s.grpc.Stop()
	return nil
}
