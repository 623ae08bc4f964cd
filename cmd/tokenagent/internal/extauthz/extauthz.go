// Package extauthz answers Envoy's external authorization over gRPC
// (envoy.service.auth.v3.Authorization) by the rules of forward auth: both ask
// one [httpauth.Guard], so that a request is decided alike whichever way a
// gateway asks. Beside it stands grpc.health.v1.Health. There is no reflection.
package extauthz

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/url"
	"sync"
	"time"

	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"google.golang.org/grpc"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"

	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/gateway"
	"github.com/tokenagent/tokenagent/pkg/verify/httpauth"
)

// Realms know whose a request is, and tell whether they can decide at all.
type Realms interface {
	Ready() bool              // good content has come
	Updated() <-chan struct{} // closed at the next change
	// Rule returns that of the realm called name where named is true, even if name
	// is "", and otherwise that of the host, which comes from the request. It is nil
	// where there is no such realm, or host is malformed. It is for one decision.
	Rule(name string, named bool, host string) *Rule
}

// Extension is the context extension in which a route of Envoy names the realm of
// its requests (ExtAuthzPerRoute, check_settings.context_extensions).
const Extension = "realm"

// A Rule decides about the requests of one realm. It is immutable.
type Rule struct {
	guard  *httpauth.Guard
	fields []field  // that guard reads
	own    []string // their names, and those of the identity
}

// NewRule returns the Rule that g decides by, which must be of forward auth.
func NewRule(g *httpauth.Guard) *Rule {
	h := g.Headers()
	return &Rule{g, fields(h), append(h, gateway.SubjectHeader, gateway.MethodHeader)}
}

// Limits bound what a client can hold without having proved anything.
const (
	// A CheckRequest holds the request's headers, which Envoy limits to 60 KiB
	// by default; a body (with_request_body) is of no use here, and only kept out.
	maxMessageBytes = 1 << 20
	maxHeaderBytes  = 64 << 10
	maxStreams      = 1000
	handshake       = 10 * time.Second
	idle            = 2 * time.Minute
	pingAfter       = time.Minute      // of silence, to find who has gone
	pingTimeout     = 20 * time.Second // for the answer to it
	leastPing       = 5 * time.Second  // between two pings of a client
)

// A Server answers gateways on one listener. It is safe for concurrent use.
type Server struct {
	authv3.UnimplementedAuthorizationServer
	realms   Realms
	denyAll  *Rule    // for requests of no realm
	nowhere  *url.URL // shared: a Guard changes none
	grpc     *grpc.Server
	log      *slog.Logger
	draining chan struct{} // closed by Drain
	drain    sync.Once
	stopping chan struct{} // closed when Shutdown or Close begins
	stop     sync.Once
}

// New returns a Server that asks realms. log is told of panics alone. more are
// settings of its listener, such as credentials, and win over those it has.
func New(realms Realms, log *slog.Logger, more ...grpc.ServerOption) *Server {
	s := &Server{
		realms:   realms,
		denyAll:  NewRule(httpauth.New(gateway.DenyAll(), httpauth.Options{ForwardAuth: true})),
		nowhere:  &url.URL{},
		log:      log,
		draining: make(chan struct{}),
		stopping: make(chan struct{}),
	}
	s.grpc = grpc.NewServer(append([]grpc.ServerOption{
		grpc.MaxRecvMsgSize(maxMessageBytes),
		grpc.MaxHeaderListSize(maxHeaderBytes),
		grpc.MaxConcurrentStreams(maxStreams),
		grpc.ConnectionTimeout(handshake),
		grpc.KeepaliveParams(keepalive.ServerParameters{MaxConnectionIdle: idle, Time: pingAfter, Timeout: pingTimeout}),
		// Envoy's connection_keepalive pings idle connections, too.
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: leastPing, PermitWithoutStream: true}),
	}, more...)...)
	authv3.RegisterAuthorizationServer(s.grpc, s)
	healthpb.RegisterHealthServer(s.grpc, &health{agent: realms, draining: s.draining, stopping: s.stopping})
	return s
}

// Serve answers on l, which it closes, until Shutdown or Close, and then
// returns nil.
func (s *Server) Serve(l net.Listener) error {
	if err := s.grpc.Serve(l); !errors.Is(err, grpc.ErrServerStopped) {
		return err
	}
	return nil // told to end before it began
}

// Drain makes the health NOT_SERVING. Calls are answered as before.
func (s *Server) Drain() { s.drain.Do(func() { close(s.draining) }) }

// Shutdown tells those who watch the health that the end has come, takes no new
// calls, and lets those under way end. It cuts them off when ctx ends, and then
// returns ctx's error.
func (s *Server) Shutdown(ctx context.Context) error {
	s.endWatches()
	done := make(chan struct{})
	go func() {
		s.grpc.GracefulStop()
		close(done)
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		s.grpc.Stop()
		<-done
		return ctx.Err()
	}
}

// Close ends everything at once.
func (s *Server) Close() error {
	s.endWatches()
	s.grpc.Stop()
	return nil
}

func (s *Server) endWatches() {
	s.Drain()
	s.stop.Do(func() { close(s.stopping) })
}
