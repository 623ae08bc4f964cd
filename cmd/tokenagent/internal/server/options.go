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

// Options configure what a process serves.
type Options struct {
	Listen       string        // host:port or unix:///path
	GRPCListen   string        // address for ext_authz and grpc health; "" for none
	AdminListen  string        // address for metrics, probes and status; "" for none
	Upstream     *url.URL      // nil for forward auth; scheme http, https or h2c, and a host; or unix or h2c+unix, and a path
	AllowPaths   []string      // "[METHOD ]/path" that need no token; with Upstream
	HealthPath   string        // answers 503 until the agent is loaded; with Upstream
	DrainTimeout time.Duration // how long open requests may take to end
	// ShutdownDelay is how long the listeners accept new connections after ctx has
	// ended, because clients take a while to notice. Meanwhile /readyz and the grpc
	// health report that the process is not ready. SIGTERM or SIGINT ends the delay.
	ShutdownDelay time.Duration
	EndRevoked    bool // end requests when their token is revoked; with Upstream
	Logger        *slog.Logger

	Socket         listener.Socket // for addresses that are Unix sockets
	TLS            listener.Files  // for Listen and GRPCListen if they are TCP addresses
	AdminTLS       listener.Files  // for AdminListen if it is a TCP address
	Poll, Debounce time.Duration   // of the TLS files, as in [reload.Options]

	// Hangup delivers SIGHUP, which reloads everything. The caller must subscribe to
	// the signal before it starts the agent. nil never delivers.
	Hangup <-chan os.Signal
}

// Validate returns an error that names the flag if o is not valid.
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
		// GET and HEAD, and POST for a health check over gRPC.
		a.Exempt = append(slices.Clone(a.Exempt), o.HealthPath, http.MethodPost+" "+o.HealthPath)
	}
	return a
}
