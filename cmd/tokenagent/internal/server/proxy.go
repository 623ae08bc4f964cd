package server

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/headername"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/realm"
	"github.com/tokenagent/tokenagent/pkg/verify"
)

// A proxy passes requests with an accepted token on to the app, without the token.
type proxy struct {
	realms     *realm.Set
	healthPath string
	transport  *transport
	app        *httputil.ReverseProxy
	endRevoked bool
	upgraded   sync.WaitGroup // counts the requests with Upgrade and their tunnels
}

func newProxy(realms *realm.Set, o *Options) *proxy {
	transport := newTransport(o.Upstream)
	target := targetOf(o.Upstream)
	return &proxy{
		realms: realms, healthPath: o.HealthPath, transport: transport, endRevoked: o.EndRevoked,
		app: &httputil.ReverseProxy{
			Rewrite:        func(r *httputil.ProxyRequest) { rewrite(r, target) },
			Transport:      transport,
			BufferPool:     new(bufferPool),
			ModifyResponse: refuseUnaskedUpgrade,
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
		http.Error(w, "the proxy does not pass on requests with this method or target", http.StatusBadRequest)
		return
	}
	e := &exchange{ResponseWriter: w, expectContinue: r.Header["Expect"] != nil}
	if who != nil {
		setIdentity(r.Header, &e.identity, who)
	}
	if r.ProtoMajor == 1 && r.ContentLength != 0 { // -1 is unknown
		// The app may answer before it has read the whole body. Without full duplex,
		// net/http would read the rest of the body before it sends the answer.
		_ = http.NewResponseController(w).EnableFullDuplex()
		e.body.in = r.Body
		r.Body = &e.body
		// net/http uses its own body after the handler.
		defer func(r *http.Request) { r.Body = e.body.in }(r)
	}
	if p.endRevoked && who != nil {
		var stop func()
		r, stop = endWhenRevoked(w, r, a, who)
		defer stop()
	}
	if r.Header["Upgrade"] != nil {
		p.upgraded.Add(1)
		defer p.upgraded.Done()
	}
	e.request = r
	p.app.ServeHTTP(e, r)
	e.finish()
}

// A bufferPool holds buffers of 32 KiB, through which ReverseProxy copies answers. The
// zero value is ready to use.
type bufferPool struct{ pool sync.Pool }

func (p *bufferPool) Get() []byte {
	if b, ok := p.pool.Get().(*[32 << 10]byte); ok {
		return b[:]
	}
	return make([]byte, 32<<10)
}

func (p *bufferPool) Put(b []byte) { p.pool.Put((*[32 << 10]byte)(b)) }

// admit authenticates r and removes the headers that the app must not see. It returns
// false if it has answered r itself. who is nil if r needs no token. Otherwise a reports
// the revocation of who's credential.
func (p *proxy) admit(w http.ResponseWriter, r *http.Request) (who *verify.Principal, a verify.RevocationWaiter, ok bool) {
	t := p.realms.Table()
	g, tokens := t.DenyAll()
	mine := t.ByHost(r.Host)
	if mine != nil {
		g, tokens, a = mine.Guard, mine.Headers, mine
	}
	// The app must look unhealthy until tokens are loaded. daprd asks for
	// subscriptions only once, after the first healthy answer. If that request were
	// refused, daprd would never subscribe.
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
	return who, a, true
}

// isForApp reports whether r can be sent to an app as a request line over HTTP/1.1. Over
// HTTP/2 the method and the query may contain characters that end a request line. So may
// a target that is not a path, such as a:b. CONNECT is refused, too: it asks for a tunnel
// (RFC 9110 section 9.3.6), in which nobody would check tokens.
func isForApp(r *http.Request) bool {
	return isVisible(r.Method) && isVisible(r.URL.RawQuery) && r.URL.Opaque == "" && r.Method != http.MethodConnect
}

// isVisible reports whether s holds no space and no control character.
func isVisible(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] == 0x7F {
			return false
		}
	}
	return true
}

// endWhenRevoked returns r with a context that is cancelled when who's credential is
// revoked. The client's connection is then closed, or its stream in HTTP/2. The caller
// calls stop when the request has been served.
func endWhenRevoked(w http.ResponseWriter, r *http.Request, a verify.RevocationWaiter, who *verify.Principal) (_ *http.Request, stop func()) {
	ctx, cancel := context.WithCancel(r.Context())
	var waiting sync.WaitGroup
	waiting.Go(func() {
		if a.AwaitRevocation(ctx, who) {
			cancel()
			// The context does not end a write to a client that does not read, or a read
			// from a client that does not write. The deadlines do, and net/http then
			// closes the connection. They have no effect on a hijacked connection, which
			// exchange.Hijack closes.
			c := http.NewResponseController(w)
			_ = c.SetWriteDeadline(time.Now())
			_ = c.SetReadDeadline(time.Now())
		}
	})
	return r.WithContext(ctx), func() { cancel(); waiting.Wait() }
}

// rewrite directs the request to target. It keeps the path, the query and the Host exactly
// as the client sent them.
func rewrite(r *httputil.ProxyRequest, target *url.URL) {
	r.Out.URL.Scheme, r.Out.URL.Host = target.Scheme, target.Host
	r.Out.URL.RawQuery = r.In.URL.RawQuery
	r.Out.Host = r.In.Host
	// Some servers merge trailers into the headers, after all checks. A proxy may discard
	// them (RFC 9110 section 6.5.1).
	r.Out.Trailer = nil
	in, out := r.In.Header, r.Out.Header
	// ReverseProxy removes the headers that the client names in Connection (RFC 9110
	// section 7.6.1). Restore these, so that a client cannot remove its identity.
	copyHeaders(out, in, headername.Subject, headername.Method, "Forwarded", "X-Forwarded-For")
	r.SetXForwarded()
	// The headers of a gateway in front describe the client's own request, so they stay.
	copyHeaders(out, in, "X-Forwarded-Host", "X-Forwarded-Proto")
	if out["X-Forwarded-For"] == nil { // the client is on a Unix socket and has no address
		copyHeaders(out, in, "X-Forwarded-For")
	}
}

func copyHeaders(to, from http.Header, names ...string) {
	for _, name := range names {
		if values, ok := from[name]; ok {
			to[name] = values
		}
	}
}

var errUnaskedUpgrade = errors.New("the app switched protocols, although the request did not ask for it")

// refuseUnaskedUpgrade returns an error for an answer 101 to a request without Upgrade.
// ReverseProxy then closes the connection to the app.
func refuseUnaskedUpgrade(res *http.Response) error {
	if res.StatusCode == http.StatusSwitchingProtocols && res.Request.Header.Get("Upgrade") == "" {
		return errUnaskedUpgrade
	}
	return nil
}

// badGateway answers a request that the app did not answer. daprd and gRPC clients retry
// after this answer.
func badGateway(w http.ResponseWriter, r *http.Request, err error, log *slog.Logger) {
	if !errors.Is(err, context.Canceled) {
		log.Warn("the app behind --upstream did not answer", "error", err)
	}
	if isGRPC(r) {
		h := w.Header()
		h.Set("Content-Type", "application/grpc")
		h.Set("Grpc-Status", "14") // UNAVAILABLE
		h.Set("Grpc-Message", "the app behind the proxy did not answer")
		w.WriteHeader(http.StatusOK)
		return
	}
	if r.ProtoMajor == 1 && r.ContentLength != 0 {
		// The rest of an unread body would be read as the next request.
		w.Header().Set("Connection", "close")
	}
	http.Error(w, "the app behind the proxy did not answer", http.StatusBadGateway)
}

func isGRPC(r *http.Request) bool {
	return r.ProtoMajor == 2 && strings.HasPrefix(r.Header.Get("Content-Type"), "application/grpc")
}
