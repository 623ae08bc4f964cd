package daemon

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"

	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/gateway"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/headername"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/realm"
	"github.com/tokenagent/tokenagent/pkg/verify"
)

// A proxy lets requests through to the app that carry an accepted token, and
// takes the token off them.
type proxy struct {
	realms     *realm.Set
	healthPath string
	transport  *transport
	next       *httputil.ReverseProxy
	tunnels    *tunnels
	endRevoked bool
}

// isForApp reports whether r can become the request line of an app. Over HTTP/2 method
// and query may hold what ends one, and so may a target such as a:b, which is no path.
// The target of CONNECT is none either: it asks for a tunnel (RFC 9110 section 9.3.6),
// in which nobody would ask for tokens.
func isForApp(r *http.Request) bool {
	return visible(r.Method) && visible(r.URL.RawQuery) && r.URL.Opaque == "" && r.Method != http.MethodConnect
}

// visible reports whether s holds no blank and no control character.
func visible(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] == 0x7F {
			return false
		}
	}
	return true
}

var errUnasked = errors.New("it switched protocols, and nobody had asked for that")

// unasked refuses 101 without a wish for another protocol; the answer, which is the
// connection then, is closed.
func unasked(res *http.Response) error {
	if res.StatusCode == http.StatusSwitchingProtocols && res.Request.Header.Get("Upgrade") == "" {
		return errUnasked
	}
	return nil
}

func newProxy(realms *realm.Set, o *Options) *proxy {
	transport := newTransport(o.Upstream)
	target := targetOf(o.Upstream)
	return &proxy{
		realms: realms, healthPath: o.HealthPath, transport: transport,
		tunnels: newTunnels(), endRevoked: o.EndRevoked,
		next: &httputil.ReverseProxy{
			Rewrite:   func(r *httputil.ProxyRequest) { rewrite(r, target) },
			Transport: transport,
			// Streams both ways are the rule behind daprd, so nothing waits in
			// a buffer.
			FlushInterval:  -1,
			ModifyResponse: unasked,
			ErrorLog:       slog.NewLogLogger(o.Logger.Handler(), slog.LevelDebug),
			ErrorHandler:   func(w http.ResponseWriter, r *http.Request, err error) { badGateway(w, r, err, o.Logger) },
		},
	}
}

func (p *proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	who, a, ok := p.admit(w, r)
	if !ok {
		return
	}
	if !isForApp(r) {
		http.Error(w, "the request has a method or target that no app behind the proxy is asked by", http.StatusBadRequest)
		return
	}
	e := &exchange{ResponseWriter: w, continues: r.Header["Expect"] != nil}
	if who != nil {
		e.subject[0] = gateway.Subject(who)
		r.Header[gateway.SubjectHeader] = e.subject[:]
		r.Header[gateway.MethodHeader] = methodOf(who)
	}
	if r.ProtoMajor == 1 && r.ContentLength != 0 { // -1 is unknown
		// The app may answer while it is still being asked, as over HTTP/2. net/http
		// would read the rest of the body first.
		_ = http.NewResponseController(w).EnableFullDuplex()
		e.body.in = r.Body
		r.Body = &e.body
		// net/http looks at its own after the handler.
		defer func(r *http.Request) { r.Body = e.body.in }(r)
	}
	if p.endRevoked && who != nil {
		var stop func()
		r, stop = endWhenRevoked(w, r, a, who)
		defer stop()
	}
	if r.Header["Upgrade"] != nil {
		p.tunnels.serve(e, r, p.next)
	} else {
		p.next.ServeHTTP(e, r)
	}
	e.finish(r)
}

// admit makes of r what the app is to see, or answers it. who is nil where it
// needs no token, else known to a.
func (p *proxy) admit(w http.ResponseWriter, r *http.Request) (who *verify.Principal, a verify.RevocationWaiter, ok bool) {
	t := p.realms.Table()
	g, tokens := t.DenyAll()
	mine := t.ByHost(r.Host)
	if mine != nil {
		g, tokens, a = mine.Guard, mine.Headers, mine
	}
	// The brake: until tokens are loaded the app must look unhealthy, since
	// daprd asks for subscriptions once, after the first healthy answer, and a
	// refusal then loses them for good.
	if p.healthPath != "" && r.URL.Path == p.healthPath && !p.realms.Ready() {
		g.Refuse(w, r, verify.ErrUnavailable)
		return nil, nil, false
	}
	who, err := g.Authenticate(r)
	if err != nil {
		if mine == nil {
			p.realms.Missed()
		}
		g.Refuse(w, r, err)
		return nil, nil, false
	}
	dropUpgrade(r.Header, who == nil)
	dropForged(r.Header, tokens)
	dropTrailers(r.Trailer, tokens)
	return who, a, true
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

// identity are the header fields by which the app is told who asks.
var identity = []string{gateway.SubjectHeader, gateway.MethodHeader} //nolint:gochecknoglobals // a constant

// dropForged removes what a client pretends to be, and what an app could take for the
// token, in any spelling that a server may take for that of ours. The token's own
// header is for [httpauth.Guard.Authenticate] to remove.
func dropForged(h http.Header, tokens []string) {
	for name := range h {
		if headername.IsAny(name, identity) || headername.Imitates(name, tokens) {
			delete(h, name)
		}
	}
}

// The values of [gateway.MethodHeader], shared so that no request pays for one.
// http.Header's own methods replace such a value, and never modify it.
var (
	byToken = []string{verify.MethodToken} //nolint:gochecknoglobals // a constant
	byJWT   = []string{verify.MethodJWT}   //nolint:gochecknoglobals // a constant
)

func methodOf(p *verify.Principal) []string {
	switch p.Method() {
	case verify.MethodToken:
		return byToken
	case verify.MethodJWT:
		return byJWT
	}
	return []string{p.Method()} // another verifier's, which the agent has none of
}

// rewrite points the request at the app and leaves everything else as the
// client wrote it: path and query to the letter, and the Host.
func rewrite(r *httputil.ProxyRequest, target *url.URL) {
	r.Out.URL.Scheme, r.Out.URL.Host = target.Scheme, target.Host
	r.Out.URL.RawQuery = r.In.URL.RawQuery
	r.Out.Host = r.In.Host
	passTrailers(r)
	// The subject again, because a client can have it taken off on the way here
	// by naming it in Connection (RFC 9110 section 7.6.1).
	for _, name := range [...]string{gateway.SubjectHeader, gateway.MethodHeader, "Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto"} {
		if values, ok := r.In.Header[name]; ok {
			r.Out.Header[name] = values
		}
	}
	peers, host, proto := r.Out.Header["X-Forwarded-For"], r.Out.Header["X-Forwarded-Host"], r.Out.Header["X-Forwarded-Proto"]
	r.SetXForwarded()
	// What a gateway in front knew of the client's own request stays. One at a
	// Unix socket has no address to add.
	if peers != nil && r.Out.Header["X-Forwarded-For"] == nil {
		r.Out.Header["X-Forwarded-For"] = peers
	}
	if host != nil {
		r.Out.Header["X-Forwarded-Host"] = host
	}
	if proto != nil {
		r.Out.Header["X-Forwarded-Proto"] = proto
	}
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
	if r.ProtoMajor == 1 && r.ContentLength != 0 {
		// Where its body could not be read to the end, what follows is no request.
		w.Header().Set("Connection", "close")
	}
	http.Error(w, "the app behind the proxy did not answer", http.StatusBadGateway)
}
