package daemon

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
	"time"

	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/realm"
	"github.com/tokenagent/tokenagent/pkg/verify"
	"github.com/tokenagent/tokenagent/pkg/verify/httpauth"
)

// A proxy lets requests through to the app that carry an accepted token, and
// takes the token off them.
type proxy struct {
	realms     *realm.Set
	stranger   *httpauth.Guard
	healthPath string
	transport  *transport
	next       *httputil.ReverseProxy
}

func newProxy(realms *realm.Set, o *Options) *proxy {
	transport := newTransport(o.Upstream.Scheme)
	target := &url.URL{Scheme: o.Upstream.Scheme, Host: o.Upstream.Host}
	if target.Scheme == "h2c" {
		target.Scheme = "http"
	}
	return &proxy{
		realms: realms, stranger: o.stranger(), healthPath: o.HealthPath, transport: transport,
		next: &httputil.ReverseProxy{
			Rewrite:   func(r *httputil.ProxyRequest) { rewrite(r, target) },
			Transport: transport,
			// Streams both ways are the rule behind daprd, so nothing waits in
			// a buffer.
			FlushInterval: -1,
			ErrorLog:      slog.NewLogLogger(o.Logger.Handler(), slog.LevelDebug),
			ErrorHandler:  func(w http.ResponseWriter, r *http.Request, err error) { badGateway(w, r, err, o.Logger) },
		},
	}
}

func (p *proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if p.admit(w, r) {
		p.next.ServeHTTP(w, r)
	}
}

// admit makes of r what the app is to see, or answers it.
func (p *proxy) admit(w http.ResponseWriter, r *http.Request) bool {
	t := p.realms.Enter()
	defer t.Leave()
	g, mine := p.stranger, t.ByHost(r.Host)
	if mine != nil {
		g = mine.Guard
	}
	// The brake: until tokens are loaded the app must look unhealthy, since
	// daprd asks for subscriptions once, after the first healthy answer, and a
	// refusal then loses them for good.
	if p.healthPath != "" && r.URL.Path == p.healthPath && !p.realms.Ready() {
		g.Refuse(w, r, verify.ErrUnavailable)
		return false
	}
	principal, exempt, err := g.Check(r)
	if err != nil {
		if mine == nil {
			p.realms.Missed()
		}
		g.Refuse(w, r, err)
		return false
	}
	g.Strip(r, exempt)
	dropUpgrade(r.Header, exempt)
	dropSubject(r.Header)
	dropSubject(r.Trailer)
	if !exempt {
		r.Header[httpauth.SubjectHeader] = []string{httpauth.Subject(principal)}
	}
	return true
}

// closeIdle closes the connections to the app that no request uses.
func (p *proxy) closeIdle() {
	p.transport.http.CloseIdleConnections()
	p.transport.h2c.CloseIdleConnections()
}

// dropUpgrade takes off the wish for another protocol (RFC 9110 section 7.8),
// WebSocket after an accepted token apart. Once an app has agreed to one, the
// connection is a tunnel: whatever is asked in it is asked without a token. So
// h2c never passes, and nothing does on a path that needs none.
func dropUpgrade(h http.Header, exempt bool) {
	if v := h["Upgrade"]; !exempt && len(v) == 1 && strings.EqualFold(v[0], "websocket") {
		return
	}
	delete(h, "Upgrade")
	delete(h, "Http2-Settings")
}

// dropSubject removes what a client pretends to be. Servers that hand headers
// to a program as CGI variables (RFC 3875 section 4.1.18, and WSGI after it)
// cannot tell '_' from '-', so neither form may pass.
func dropSubject(h http.Header) {
	for name := range h {
		if len(name) == len(httpauth.SubjectHeader) &&
			strings.EqualFold(strings.ReplaceAll(name, "_", "-"), httpauth.SubjectHeader) {
			delete(h, name)
		}
	}
}

// rewrite points the request at the app and leaves everything else as the
// client wrote it: path and query to the letter, and the Host.
func rewrite(r *httputil.ProxyRequest, target *url.URL) {
	r.Out.URL.Scheme, r.Out.URL.Host = target.Scheme, target.Host
	r.Out.URL.RawQuery = r.In.URL.RawQuery
	r.Out.Host = r.In.Host
	// The subject again, because a client can have it taken off on the way here
	// by naming it in Connection (RFC 9110 section 7.6.1).
	for _, name := range []string{httpauth.SubjectHeader, "Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto"} {
		if values, ok := r.In.Header[name]; ok {
			r.Out.Header[name] = values
		}
	}
	host, proto := r.Out.Header["X-Forwarded-Host"], r.Out.Header["X-Forwarded-Proto"]
	r.SetXForwarded()
	// What a gateway in front knew of the client's own request stays.
	if host != nil {
		r.Out.Header["X-Forwarded-Host"] = host
	}
	if proto != nil {
		r.Out.Header["X-Forwarded-Proto"] = proto
	}
}

// A transport sends each request on in the protocol that its app speaks.
type transport struct {
	http *http.Transport // HTTP/1.1, and HTTP/2 over TLS
	h2c  *http.Transport // HTTP/2 in plain text, which is what gRPC needs
	all  bool            // everything goes by h2c
}

func newTransport(scheme string) *transport {
	base := func() *http.Transport {
		return &http.Transport{
			DialContext:         (&net.Dialer{Timeout: 5 * time.Second, KeepAlive: 30 * time.Second}).DialContext,
			TLSHandshakeTimeout: 5 * time.Second,
			IdleConnTimeout:     90 * time.Second,
			// All requests go to one host.
			MaxIdleConns: 256, MaxIdleConnsPerHost: 256,
			// An app's answer passes as it is, compressed or not.
			DisableCompression: true,
			HTTP2:              &http.HTTP2Config{SendPingTimeout: 15 * time.Second, PingTimeout: 15 * time.Second},
		}
	}
	t := &transport{http: base(), h2c: base(), all: scheme == "h2c"}
	var one, two http.Protocols
	one.SetHTTP1(true)
	if scheme == "https" {
		one.SetHTTP2(true)
		t.h2c = t.http
	}
	two.SetUnencryptedHTTP2(true)
	t.http.Protocols = &one
	if t.h2c != t.http {
		t.h2c.Protocols = &two
	}
	return t
}

func (t *transport) RoundTrip(r *http.Request) (*http.Response, error) {
	if t.all || strings.HasPrefix(r.Header.Get("Content-Type"), "application/grpc") && r.ProtoMajor == 2 {
		return t.h2c.RoundTrip(r)
	}
	return t.http.RoundTrip(r)
}

// badGateway answers for an app that does not: with what daprd and gRPC
// clients try again.
func badGateway(w http.ResponseWriter, r *http.Request, err error, log *slog.Logger) {
	if !errors.Is(err, context.Canceled) {
		log.Warn("the app behind --upstream did not answer", "error", err)
	}
	if r.ProtoMajor == 2 && strings.HasPrefix(r.Header.Get("Content-Type"), "application/grpc") {
		h := w.Header()
		h.Set("Content-Type", "application/grpc")
		h.Set("Grpc-Status", "14") // UNAVAILABLE
		h.Set("Grpc-Message", "the app behind the proxy did not answer")
		w.WriteHeader(http.StatusOK)
		return
	}
	http.Error(w, "the app behind the proxy did not answer", http.StatusBadGateway)
}
