// Package daemon is what `tokenagent run` serves: forward-auth or a reverse
// proxy on one listener, ext_authz over gRPC on another, and metrics, health and
// status on a third.
package daemon

import (
	"context"
	"errors"
	"fmt"
	stdlog "log" //nolint:depguard // what net/http's server takes
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/extauthz"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/gateway"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/listener"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/realm"
	"github.com/tokenagent/tokenagent/internal/httpconn"
	"github.com/tokenagent/tokenagent/pkg/verify/httpauth"
)

// Options say what to serve.
type Options struct {
	Listen       string        // host:port or unix:///path
	GRPCListen   string        // of ext_authz and grpc health, the same; "" for none
	AdminListen  string        // the same; "" for none
	Upstream     *url.URL      // nil for forward-auth; scheme http, https or h2c, and a host; or unix or h2c+unix, and a path
	AllowPaths   []string      // "[METHOD ]/path" that need no token; with Upstream
	HealthPath   string        // answers 503 until the agent is loaded; with Upstream
	Headers      []string      // where the token stands; none means the default
	DrainTimeout time.Duration // how long requests may take to end
	// ShutdownDelay is how long after ctx has ended new connections are still taken,
	// while /readyz and the grpc health say no: others send until they know. SIGTERM or
	// SIGINT ends it.
	ShutdownDelay time.Duration
	EndRevoked    bool // what is under way ends when its token is revoked; with Upstream
	Logger        *slog.Logger

	Socket         listener.Socket // of those addresses that are Unix sockets
	TLS            listener.Files  // of Listen and GRPCListen, where they are TCP
	AdminTLS       listener.Files  // of AdminListen, the same
	Poll, Debounce time.Duration   // of these files, as those of [reload.Options]

	certs listener.All // open while Run or ServeAdmin runs

	// Hangup delivers SIGHUP, upon which the source is read again. The caller
	// catches the signal, from before the agent starts. nil never delivers.
	Hangup <-chan os.Signal
}

// Validate reports what is wrong with o, by flag.
func (o *Options) Validate() error {
	if err := o.Auth().Validate(); err != nil {
		return fmt.Errorf("--header, --allow-path or --health-path: %w", err)
	}
	return nil
}

// Auth returns how requests to the main listener are checked.
func (o *Options) Auth() httpauth.Options {
	a := httpauth.Options{Headers: o.Headers, Exempt: o.AllowPaths, ForwardAuth: o.Upstream == nil}
	if o.HealthPath != "" {
		// GET and HEAD; and POST for a health check over gRPC.
		a.Exempt = append(append([]string(nil), a.Exempt...), o.HealthPath, http.MethodPost+" "+o.HealthPath)
	}
	return a
}

// Limits of every listener. They bound what a client can hold without having
// proved anything.
const (
	headerTimeout  = 10 * time.Second
	idleTimeout    = 2 * time.Minute
	maxHeaderBytes = 64 << 10
	maxStreams     = 1000
)

const adminFlag = "admin-listen"

// Run serves until ctx ends, and for o.ShutdownDelay longer, then drains and returns nil; or returns why it
// cannot serve. It does not close realms, whose Guards are
// to be as [Options.Auth] says.
func Run(ctx context.Context, realms *realm.Set, o Options) error {
	defer runtime.KeepAlive(room())
	var draining atomic.Bool
	mine, admin, err := o.openCerts(ctx, realms.Watcher())
	defer func() { o.certs.Close() }()
	if err != nil {
		if ctx.Err() != nil {
			return nil // told to end before it began
		}
		return err
	}
	main := o.server(realms)
	drainHealth := func() {} // makes the grpc health say no
	servers := []served{{"listen", o.Listen, overTLS(whole(main), main, overTCP(o.Listen, mine))}}
	if o.GRPCListen != "" {
		authz := extauthz.New(realms, o.Logger, grpcTLS(overTCP(o.GRPCListen, mine))...)
		drainHealth = authz.Drain
		servers = append(servers, served{"grpc-listen", o.GRPCListen, authz})
	}
	if o.AdminListen != "" {
		port := o.adminServer(realms, &draining)
		servers = append(servers, served{adminFlag, o.AdminListen, overTLS(port, port, overTCP(o.AdminListen, admin))})
	}
	defer OnHangup(o.Hangup, o.with(realms), o.Logger)()
	failed := make(chan error, len(servers))
	var serving sync.WaitGroup
	defer serving.Wait()
	for i, s := range servers {
		l, err := listener.Open(ctx, s.addr, o.Socket)
		if err != nil {
			for _, up := range servers[:i] {
				_ = up.Close()
			}
			if ctx.Err() != nil {
				return nil // told to end before it began
			}
			return fmt.Errorf("--%s: %w", s.flag, err)
		}
		o.Logger.Info("listening", "for", s.flag, "addr", l.Addr().String())
		serving.Go(func() {
			if err := s.Serve(l); err != nil && !errors.Is(err, http.ErrServerClosed) {
				failed <- fmt.Errorf("--%s: %w", s.flag, err)
			}
		})
	}
	select {
	case err = <-failed:
	case <-ctx.Done():
		draining.Store(true)
		drainHealth()
		if o.ShutdownDelay > 0 {
			again := make(chan os.Signal, 1) // a signal that ended ctx has been delivered, and does not come again
			signal.Notify(again, os.Interrupt, syscall.SIGTERM)
			o.Logger.Info("told to end: not ready from now on, and answering new connections for a while", "delay", o.ShutdownDelay)
			err = wait(o.ShutdownDelay, failed, again)
			signal.Stop(again)
		}
		o.Logger.Info("draining", "timeout", o.DrainTimeout)
	}
	draining.Store(true)
	o.drain(context.WithoutCancel(ctx), servers)
	if p, ok := main.Handler.(*proxy); ok {
		p.closeIdle()
	}
	return err
}

// wait returns nil after d or at a signal, or at once the error that failed holds.
func wait(d time.Duration, failed <-chan error, again <-chan os.Signal) error {
	over := time.NewTimer(d)
	defer over.Stop()
	select {
	case err := <-failed:
		return err
	case <-again:
		return nil
	case <-over.C:
		return nil
	}
}

// A served is what answers on one listener: an [http.Server], or ext_authz's.
type served struct {
	flag, addr string
	server
}

type server interface {
	Serve(l net.Listener) error // nil or http.ErrServerClosed where it was told to end
	Shutdown(ctx context.Context) error
	Close() error
}

// drain lets requests end, on all listeners at the same time: but the admin port
// last, so that it can be asked.
func (o *Options) drain(ctx context.Context, servers []served) {
	ctx, cancel := context.WithTimeout(ctx, o.DrainTimeout)
	defer cancel()
	stop := func(s served) {
		if err := s.Shutdown(ctx); err != nil {
			o.Logger.Warn("requests cut off at the end of the drain timeout", "for", s.flag)
			_ = s.Close()
		}
	}
	var stopping sync.WaitGroup
	for _, s := range servers {
		if s.flag != adminFlag {
			stopping.Go(func() { stop(s) })
		}
	}
	stopping.Wait()
	if last := servers[len(servers)-1]; last.flag == adminFlag {
		stop(last)
	}
}

func readAgain(a Reloader, log *slog.Logger) {
	changed, err := a.Reload()
	if err != nil {
		log.Warn("hangup: source not taken over; what was accepted stays so", "error", err)
		return
	}
	log.Info("hangup: source read", "changed", changed)
}

// A Reloader is an agent, or all of a process.
type Reloader interface {
	Reload() (changed bool, err error)
}

// OnHangup reads the source again for each signal on hup, until stop.
func OnHangup(hup <-chan os.Signal, a Reloader, log *slog.Logger) (stop func()) {
	done := make(chan struct{})
	var running sync.WaitGroup
	running.Go(func() {
		for {
			select {
			case <-hup:
				readAgain(a, log)
			case <-done:
				return
			}
		}
	})
	return func() {
		close(done)
		running.Wait()
	}
}

// server returns the server of the main listener.
func (o *Options) server(realms *realm.Set) *http.Server {
	s := newServer(o.Logger)
	if o.Upstream == nil {
		s.Handler = o.forwardAuth(realms)
		// Nothing here is long: no body is read and none is written.
		s.ReadTimeout, s.WriteTimeout = headerTimeout, headerTimeout
		return s
	}
	s.Handler = newProxy(realms, o)
	return s
}

func newServer(log *slog.Logger) *http.Server {
	var p http.Protocols
	p.SetHTTP1(true)
	p.SetUnencryptedHTTP2(true)
	return &http.Server{
		ReadHeaderTimeout: headerTimeout, IdleTimeout: idleTimeout, MaxHeaderBytes: maxHeaderBytes,
		Protocols: &p, HTTP2: &http.HTTP2Config{MaxConcurrentStreams: maxStreams},
		ErrorLog: stdlog.New(serverLog{log}, "", 0),
		// net/http would answer "OPTIONS *" with 200 by itself, which a gateway
		// takes for a yes.
		DisableGeneralOptionsHandler: true,
	}
}

// serverLog takes what net/http's server logs. Most of that is about what clients do
// wrong, and of no interest; a panic is.
type serverLog struct{ log *slog.Logger }

// Write logs one message. The value of a panic is left out, since it may hold a
// token; the stack says where it was.
func (l serverLog) Write(message []byte) (int, error) {
	text := strings.TrimSpace(string(message))
	const panicked = "panic serving "
	at, stack := strings.Index(text, panicked), strings.LastIndex(text, "\ngoroutine ")
	if at >= 0 && stack > at {
		client, _, _ := strings.Cut(text[at+len(panicked):], ": ")
		l.log.Warn("panic serving a request; its connection is closed", "client", client, "stack", text[stack+1:])
		return len(message), nil
	}
	l.log.Debug("HTTP server", "message", text)
	return len(message), nil
}

// forwardAuth answers for a gateway, whatever method and path it asks with.
func (o *Options) forwardAuth(realms *realm.Set) http.Handler {
	denyAll := o.denyAll()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		t := realms.Table()
		g := denyAll
		if mine := t.ByPath(r.URL.EscapedPath(), r.Host); mine != nil {
			g = mine.Guard
		} else {
			realms.Missed()
		}
		p, err := g.Authenticate(r)
		if err != nil {
			g.Refuse(w, r, err)
			return
		}
		// net/http adds what is missing, with less work than a handler has: the
		// length, and 200, which is exactly what Envoy ext_authz takes.
		if r.ProtoMajor == 1 && r.ContentLength != 0 {
			// A check is of the header alone: the gateway may have left out the body
			// that it announces. net/http would wait for that before it answers, and
			// then take the next request for it.
			w.Header()["Connection"] = []string{"close"}
			_ = http.NewResponseController(w).SetReadDeadline(time.Now())
			httpconn.CloseInTwoSteps(w)
		}
		h := w.Header()
		h[gateway.SubjectHeader] = []string{gateway.Subject(p)}
		h[gateway.MethodHeader] = methodOf(p)
	})
}

// denyAll returns the Guard for requests of no realm. It exempts what every realm
// exempts, and refuses every token.
func (o *Options) denyAll() *httpauth.Guard { return httpauth.New(gateway.DenyAll(), o.Auth()) }
