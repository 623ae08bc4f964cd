package server

import (
	"context"
	stdlog "log" //nolint:depguard // what net/http's server takes
	"log/slog"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/listener"
	"github.com/tokenagent/tokenagent/internal/httpconn"
)

// Limits of every HTTP server. They limit the resources that an unauthenticated client
// can hold.
const (
	headerTimeout  = 10 * time.Second // also for the TLS handshake
	idleTimeout    = 2 * time.Minute
	maxHeaderBytes = 64 << 10
	maxStreams     = 1000
)

// An httpServer is an [http.Server] that speaks TLS if it has a TLSConfig. Its Shutdown
// also waits for the proxy's upgraded connections, which an http.Server does not track.
type httpServer struct {
	*http.Server
	proxy          *proxy             // nil for none
	cancelRequests context.CancelFunc // nil without a proxy
}

// newHTTPServer returns a server of HTTP/1.1 and HTTP/2. c may be nil for plain text.
func newHTTPServer(log *slog.Logger, c *listener.Certificates) *httpServer {
	var p http.Protocols
	p.SetHTTP1(true)
	s := &http.Server{
		ReadHeaderTimeout: headerTimeout, IdleTimeout: idleTimeout, MaxHeaderBytes: maxHeaderBytes,
		Protocols: &p, HTTP2: &http.HTTP2Config{MaxConcurrentStreams: maxStreams},
		ErrorLog: stdlog.New(serverLog{log}, "", 0),
		// Otherwise net/http itself answers "OPTIONS *" with 200, which a gateway takes
		// as permission.
		DisableGeneralOptionsHandler: true,
	}
	if c == nil {
		p.SetUnencryptedHTTP2(true)
	} else {
		p.SetHTTP2(true)
		s.TLSConfig = c.Config("h2", "http/1.1")
	}
	return &httpServer{Server: s}
}

func (s *httpServer) Serve(l net.Listener) error {
	if s.TLSConfig != nil {
		return s.ServeTLS(l, "", "")
	}
	return s.Server.Serve(l)
}

func (s *httpServer) Shutdown(ctx context.Context) error {
	if err := s.Server.Shutdown(ctx); err != nil || s.proxy == nil {
		return err
	}
	ended := make(chan struct{})
	go func() {
		s.proxy.upgraded.Wait() // no request remains that could call Add
		close(ended)
	}()
	select {
	case <-ended:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (s *httpServer) Close() error {
	err := s.Server.Close()
	if s.proxy != nil {
		s.cancelRequests()
		s.proxy.transport.CloseIdleConnections()
	}
	return err
}

// mainServer returns the server of the main listener.
func (d *daemon) mainServer(c *listener.Certificates) *httpServer {
	s := newHTTPServer(d.Logger, c)
	if d.Upstream == nil {
		s.Handler = d.forwardAuth()
		// Forward auth reads and writes no body, so nothing takes long.
		s.ReadTimeout, s.WriteTimeout = headerTimeout, headerTimeout
		return s
	}
	s.proxy = newProxy(d.realms, &d.Options)
	s.Handler = s.proxy
	requests, cancel := context.WithCancel(context.Background())
	s.cancelRequests = cancel
	s.BaseContext = func(net.Listener) context.Context { return requests }
	return s
}

// forwardAuth returns the handler that answers gateways. It answers every method and path.
func (d *daemon) forwardAuth() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		t := d.realms.Table()
		g, _ := t.DenyAll()
		if mine := t.ByPath(r.URL.EscapedPath(), r.Host); mine != nil {
			g = mine.Guard
		} else {
			d.realms.Missed()
		}
		p, err := g.Authenticate(r)
		if err != nil {
			g.Refuse(w, r, err)
			return
		}
		// net/http adds the length and the status 200. Envoy ext_authz accepts only 200.
		if r.ProtoMajor == 1 && r.ContentLength != 0 {
			// A check needs only the headers, so the gateway may have left out the body
			// that they announce. net/http would wait for the body before it answers,
			// and then read the next request as the body.
			w.Header()["Connection"] = []string{"close"}
			_ = http.NewResponseController(w).SetReadDeadline(time.Now())
			httpconn.CloseInTwoSteps(w)
		}
		setIdentity(w.Header(), new([2]string), p)
	})
}

// serverLog receives the log lines of net/http's server. Most of them report errors of
// clients, so serverLog logs them at level debug. It logs a panic as a warning.
type serverLog struct{ log *slog.Logger }

// Write logs one message. It leaves out the value of a panic, which may contain a token,
// and logs the stack.
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
