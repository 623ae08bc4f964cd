package server

import (
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"slices"
	"time"

	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/listener"
	"github.com/tokenagent/tokenagent/pkg/verify/httpauth"
)

// Options say what to serve.
type Options struct {
	Listen       string        // host:port or unix:///path
	GRPCListen   string        // the same, for ext_authz and grpc health; "" for none
	AdminListen  string        // the same; "" for none
	Upstream     *url.URL      // nil for forward auth; scheme http, https or h2c, and a host; or unix or h2c+unix, and a path
	AllowPaths   []string      // "[METHOD ]/path" that need no token; with Upstream
	HealthPath   string        // answers 503 until the agent is loaded; with Upstream
	DrainTimeout time.Duration // how long requests may take to end
	// ShutdownDelay is how long new connections are still accepted after ctx has
	// ended, while /readyz and the grpc health say no, because clients take a while to
	// notice. SIGTERM or SIGINT ends the delay.
	ShutdownDelay time.Duration
	EndRevoked    bool // end requests when their token is revoked; with Upstream
	Logger        *slog.Logger

	Socket         listener.Socket // of the addresses that are Unix sockets
	TLS            listener.Files  // of Listen and GRPCListen, if they are TCP
	AdminTLS       listener.Files  // of AdminListen, the same
	Poll, Debounce time.Duration   // of these files, as in [reload.Options]

	// Hangup delivers SIGHUP, which reloads everything. The caller must subscribe to
	// the signal before it starts the agent. nil never delivers.
	Hangup <-chan os.Signal
}

// Validate reports what is wrong with o, by flag.
func (o *Options) Validate() error {
	if err := o.Auth().Validate(); err != nil {
		return fmt.Errorf("--allow-path or --health-path: %w", err)
	}
	return nil
}

// Auth returns how requests to the main listener are authenticated.
func (o *Options) Auth() httpauth.Options {
	a := httpauth.Options{Exempt: o.AllowPaths, ForwardAuth: o.Upstream == nil}
	if o.HealthPath != "" {
		// GET and HEAD; and POST for a health check over gRPC.
		a.Exempt = append(slices.Clone(a.Exempt), o.HealthPath, http.MethodPost+" "+o.HealthPath)
	}
	return a
}
