package daemon

import (
	"bufio"
	"context"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/tokenagent/tokenagent/pkg/verify"
)

// tunnels are the requests that may become, or have become, connections of
// another protocol. An [http.Server] forgets those at the hijack, so they are
// counted and ended here.
type tunnels struct {
	running sync.WaitGroup
	ending  context.Context //nolint:containedctx // ends all of them
	end     context.CancelFunc

	mu     sync.Mutex
	closed bool // none begins any more; guarded by mu
}

func newTunnels() *tunnels {
	t := &tunnels{}
	t.ending, t.end = context.WithCancel(context.Background())
	return t
}

// serve runs next for a request that asks for another protocol, and ends both of
// its connections when t is closed or the request's context ends.
func (t *tunnels) serve(w http.ResponseWriter, r *http.Request, next http.Handler) {
	t.mu.Lock()
	if t.closed {
		t.mu.Unlock()
		http.Error(w, "the proxy is about to end", http.StatusServiceUnavailable)
		return
	}
	t.running.Add(1)
	t.mu.Unlock()
	defer t.running.Done()
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	defer context.AfterFunc(t.ending, cancel)() //nolint:contextcheck // the end of all tunnels is no request's
	next.ServeHTTP(&tunnelWriter{ResponseWriter: w, ctx: ctx}, r.WithContext(ctx))
}

// wait returns nil when none runs, or what ended ctx.
func (t *tunnels) wait(ctx context.Context) error {
	none := make(chan struct{})
	go func() {
		t.running.Wait()
		close(none)
	}()
	select {
	case <-none:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// close ends those that run, and returns when they have.
func (t *tunnels) close() {
	t.mu.Lock()
	t.closed = true
	t.mu.Unlock()
	t.end()
	t.running.Wait()
}

// A tunnelWriter closes the client's connection with ctx. ReverseProxy closes
// the app's alone, and then waits for a write to a client that does not read.
type tunnelWriter struct {
	http.ResponseWriter
	ctx context.Context //nolint:containedctx // of the request
}

// Unwrap is for [http.ResponseController].
func (w *tunnelWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// Hijack is for [http.ResponseController].
func (w *tunnelWriter) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := http.NewResponseController(w.ResponseWriter).Hijack()
	if err == nil {
		context.AfterFunc(w.ctx, func() { _ = conn.Close() })
	}
	return conn, rw, err
}

// A proxyServer is the server of a proxy, tunnels included.
type proxyServer struct {
	*http.Server
	tunnels *tunnels
}

func (s *proxyServer) Shutdown(ctx context.Context) error {
	if err := s.Server.Shutdown(ctx); err != nil {
		return err
	}
	return s.tunnels.wait(ctx) // none begins: nobody is left who could
}

func (s *proxyServer) Close() error {
	err := s.Server.Close()
	s.tunnels.close()
	return err
}

// whole returns s with what its handler keeps open beside it.
func whole(s *http.Server) server {
	if p, ok := s.Handler.(*proxy); ok {
		return &proxyServer{s, p.tunnels}
	}
	return s
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
			// here; tunnelWriter closes it.
			c := http.NewResponseController(w)
			_ = c.SetWriteDeadline(time.Now())
			_ = c.SetReadDeadline(time.Now())
		}
	})
	return r.WithContext(ctx), func() { cancel(); waiting.Wait() }
}
