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

// Limits of every HTTP server. They bound what an unauthenticated client can hold.
const (
	headerTimeout  = 10 * time.Second // and for the TLS handshake
	idleTimeout    = 2 * time.Minute
	maxHeaderBytes = 64 << 10
	maxStreams     = 1000
)

// An httpServer is an [http.Server] that speaks TLS if it has a TLSConfig, and that
// waits for the proxy's upgraded connections, which an http.Server forgets.
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
		s.proxy.upgraded.Wait() // no request is left that could add to it
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
		// No body is read and none is written, so nothing takes long.
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

// forwardAuth answers for a gateway, whatever method and path it asks with.
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
		// net/http adds what is missing, with less work than a handler has: the
		// length, and 200, which is exactly what Envoy ext_authz takes.
		if r.ProtoMajor == 1 && r.ContentLength != 0 {
			// A check needs the headers alone, so the gateway may have left out the body
			// that they announce. net/http would wait for the body before it answers,
			// and then read the next request as the body.
			w.Header()["Connection"] = []string{"close"}
			_ = http.NewResponseController(w).SetReadDeadline(time.Now())
			httpconn.CloseInTwoSteps(w)
		}
		setIdentity(w.Header(), new([2]string), p)
	})
}

// serverLog receives what net/http's server logs. Most of it is about mistakes of
// clients, and is logged at level debug. A panic is a warning.
type serverLog struct{ log *slog.Logger }

// Write logs one message. The value of a panic is left out, because it may hold a
// token. The stack says where it was.
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
