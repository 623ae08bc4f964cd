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
	upgraded   sync.WaitGroup // requests that ask for an upgrade, and their connections
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
		http.Error(w, "the request has a method or target that is not passed on to an app", http.StatusBadRequest)
		return
	}
	e := &exchange{ResponseWriter: w, continues: r.Header["Expect"] != nil}
	if who != nil {
		setIdentity(r.Header, &e.identity, who)
	}
	if r.ProtoMajor == 1 && r.ContentLength != 0 { // -1 is unknown
		// The app may answer before it has the whole body, as over HTTP/2. net/http
		// would read the rest of the body first.
		_ = http.NewResponseController(w).EnableFullDuplex()
		e.body.in = r.Body
		r.Body = &e.body
		// net/http looks at its own body after the handler.
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

// A bufferPool keeps the buffers through which answers pass, of 32 KiB each. The zero
// value is ready to use.
type bufferPool struct{ pool sync.Pool }

func (p *bufferPool) Get() []byte {
	if b, ok := p.pool.Get().(*[32 << 10]byte); ok {
		return b[:]
	}
	return make([]byte, 32<<10)
}

func (p *bufferPool) Put(b []byte) { p.pool.Put((*[32 << 10]byte)(b)) }

// admit authenticates r and removes from it what the app must not see. It returns
// false if it has answered r itself. who is nil if r needs no token; otherwise a
// knows when who's credential is revoked.
func (p *proxy) admit(w http.ResponseWriter, r *http.Request) (who *verify.Principal, a verify.RevocationWaiter, ok bool) {
	t := p.realms.Table()
	g, tokens := t.DenyAll()
	mine := t.ByHost(r.Host)
	if mine != nil {
		g, tokens, a = mine.Guard, mine.Headers, mine
	}
	// The app must look unhealthy until tokens are loaded. daprd asks for
	// subscriptions once, after the first healthy answer, and a refusal then would
	// lose them for good.
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

// isForApp reports whether r can become the request line of an app. Over HTTP/2 method
// and query may hold characters that end a request line, and so may a target such as
// a:b, which is not a path. The target of CONNECT is not a path either: CONNECT asks for
// a tunnel (RFC 9110 section 9.3.6), in which nobody would check tokens.
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
// revoked; the client's connection is closed then, or the stream in HTTP/2. The caller
// calls stop when the request has been served.
func endWhenRevoked(w http.ResponseWriter, r *http.Request, a verify.RevocationWaiter, who *verify.Principal) (_ *http.Request, stop func()) {
	ctx, cancel := context.WithCancel(r.Context())
	var waiting sync.WaitGroup
	waiting.Go(func() {
		if a.AwaitRevocation(ctx, who) {
			cancel()
			// A context does not end a write to a client that does not read, or a
			// read from one that does not write. These deadlines do, and net/http
			// then closes the connection. A hijacked connection has no deadlines
			// here; exchange.Hijack closes it.
			c := http.NewResponseController(w)
			_ = c.SetWriteDeadline(time.Now())
			_ = c.SetReadDeadline(time.Now())
		}
	})
	return r.WithContext(ctx), func() { cancel(); waiting.Wait() }
}

// rewrite sends the request to the app and leaves everything else as the client wrote
// it: path and query to the letter, and the Host.
func rewrite(r *httputil.ProxyRequest, target *url.URL) {
	r.Out.URL.Scheme, r.Out.URL.Host = target.Scheme, target.Host
	r.Out.URL.RawQuery = r.In.URL.RawQuery
	r.Out.Host = r.In.Host
	// Some servers merge trailers into the headers, after every check. An intermediary
	// may discard them (RFC 9110 section 6.5.1).
	r.Out.Trailer = nil
	in, out := r.In.Header, r.Out.Header
	// A client can have the identity removed on the way here by naming it in
	// Connection (RFC 9110 section 7.6.1).
	copyHeaders(out, in, headername.Subject, headername.Method, "Forwarded", "X-Forwarded-For")
	r.SetXForwarded()
	// What a gateway in front said about the client's own request stays.
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

var errUnaskedUpgrade = errors.New("the app switched protocols, and the request did not ask for that")

// refuseUnaskedUpgrade refuses 101 to a request without Upgrade. ReverseProxy then
// closes the connection to the app.
func refuseUnaskedUpgrade(res *http.Response) error {
	if res.StatusCode == http.StatusSwitchingProtocols && res.Request.Header.Get("Upgrade") == "" {
		return errUnaskedUpgrade
	}
	return nil
}

// badGateway answers for an app that did not answer. daprd and gRPC clients then try
// again.
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
		// If the body was not read to its end, the rest of it would be read as a request.
		w.Header().Set("Connection", "close")
	}
	http.Error(w, "the app behind the proxy did not answer", http.StatusBadGateway)
}

func isGRPC(r *http.Request) bool {
	return r.ProtoMajor == 2 && strings.HasPrefix(r.Header.Get("Content-Type"), "application/grpc")
}
