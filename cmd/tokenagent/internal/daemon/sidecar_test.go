package daemon

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

const auth = "dapr-api-token: " + good + "\r\n"

func TestServerSentEvents(t *testing.T) {
	t.Parallel()
	a, _ := startAgent(t, good)
	more, gone := make(chan struct{}), make(chan struct{})
	w := dialRaw(t, front(t, a, Options{Upstream: app(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		fmt.Fprintf(w, "id: %s\n\n", r.Header.Get("Last-Event-Id"))
		_ = http.NewResponseController(w).Flush()
		<-more
		_, _ = io.WriteString(w, "id: 8\n\n")
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
		close(gone)
	}))}))
	w.say(t, "GET /events HTTP/1.1\r\nHost: x\r\nLast-Event-ID: 7\r\n"+auth+"\r\n")
	res := w.answer(t)
	defer res.Body.Close()
	lines := bufio.NewScanner(res.Body)
	if !lines.Scan() || lines.Text() != "id: 7" {
		t.Fatalf("%q, %v", lines.Text(), lines.Err())
	}
	close(more) // only now: nothing waited in a buffer

	for range 2 { // the empty line first
		lines.Scan()
	}
	if lines.Text() != "id: 8" {
		t.Fatalf("%q, %v", lines.Text(), lines.Err())
	}
	_ = w.Close()
	select {
	case <-gone:
	case <-time.After(20 * time.Second):
		t.Error("the app is not told that the client has gone")
	}
}

// TestNothingIsBuffered: hand over hand, each side sends its block only when it
// has the other's, so that no block may wait for the next one.
func TestNothingIsBuffered(t *testing.T) {
	t.Parallel()
	const block, rounds = 1 << 20, 256
	a, _ := startAgent(t, good)
	base := front(t, a, Options{Upstream: app(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c := http.NewResponseController(w)
		_ = c.EnableFullDuplex()
		b := make([]byte, block)
		for {
			if _, err := io.ReadFull(r.Body, b); err != nil {
				return
			}
			_, _ = w.Write(b)
			_ = c.Flush()
		}
	}))})
	for _, protocol := range []string{"HTTP/1.1", "h2c"} {
		t.Run(protocol, func(t *testing.T) {
			t.Parallel()
			var p http.Protocols
			p.SetHTTP1(protocol == "HTTP/1.1")
			p.SetUnencryptedHTTP2(protocol == "h2c")
			tr := &http.Transport{Protocols: &p}
			defer tr.CloseIdleConnections()
			body, feed := io.Pipe()
			ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
			defer cancel()
			r, err := http.NewRequestWithContext(ctx, http.MethodPost, base, body)
			if err != nil {
				t.Fatal(err)
			}
			r.Header.Set("Dapr-Api-Token", good)
			b := make([]byte, block)
			begun := make(chan error, 1)
			go func() { _, err := feed.Write(b); begun <- err }()
			res, err := tr.RoundTrip(r)
			if err != nil {
				t.Fatal(err)
			}
			defer res.Body.Close()
			back := make([]byte, block)
			for i := range rounds {
				if i > 0 {
					go func() { _, err := feed.Write(b); begun <- err }()
				}
				if _, err := io.ReadFull(res.Body, back); err != nil {
					t.Fatalf("block %d: %v", i, err)
				}
				if err := <-begun; err != nil {
					t.Fatalf("block %d: %v", i, err)
				}
			}
			_ = feed.Close()
			if n, err := io.Copy(io.Discard, res.Body); n != 0 || err != nil {
				t.Errorf("%d bytes more, %v", n, err)
			}
		})
	}
}

func TestExpectContinue(t *testing.T) {
	t.Parallel()
	a, _ := startAgent(t, good)
	base := front(t, a, Options{Upstream: app(t, echo())})
	w := dialRaw(t, base)
	w.say(t, "POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n")
	refused := w.answer(t)
	defer refused.Body.Close()
	if refused.StatusCode != http.StatusUnauthorized { // and no 100 before it
		t.Errorf("without a token: %d", refused.StatusCode)
	}
	w.ended(t)
	w = dialRaw(t, base)
	w.say(t, "POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 4\r\n"+auth+"\r\n")
	w.hear(t, "HTTP/1.1 100 Continue\r\n\r\n")
	w.say(t, "body")
	res := w.answer(t)
	defer res.Body.Close()
	if got, _ := io.ReadAll(res.Body); !strings.Contains(string(got), `"body":"body"`) {
		t.Errorf("%d %s", res.StatusCode, got)
	}
}

// TestTrailersPass, both ways; a forged identity does not, announced or not.
func TestTrailersPass(t *testing.T) {
	t.Parallel()
	a, _ := startAgent(t, good)
	got := make(chan http.Header, 1)
	w := dialRaw(t, front(t, a, Options{Upstream: app(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Trailer", "X-Sum")
		_, _ = io.Copy(io.Discard, r.Body)
		got <- r.Trailer
		_, _ = io.WriteString(w, "x")
		w.Header().Set("X-Sum", "of the answer")
	}))}))
	w.say(t, "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum, X-Tokenagent-Subject\r\n"+auth+
		"\r\n1\r\nx\r\n0\r\nX-Sum: of the request\r\nX-Tokenagent-Subject: admin\r\nX-Tokenagent_subject: admin\r\n\r\n")
	res := w.answer(t)
	defer res.Body.Close()
	if _, err := io.ReadAll(res.Body); err != nil || res.Trailer.Get("X-Sum") != "of the answer" {
		t.Errorf("the answer's: %v, %v", res.Trailer, err)
	}
	if h := <-got; len(h) != 1 || h.Get("X-Sum") != "of the request" {
		t.Errorf("the request's: %v", h)
	}
}

func TestClientGoesAwayInItsBody(t *testing.T) {
	t.Parallel()
	a, _ := startAgent(t, good)
	begun, failed := make(chan struct{}), make(chan error, 1)
	w := dialRaw(t, front(t, a, Options{Upstream: app(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.ReadFull(r.Body, make([]byte, 4))
		close(begun)
		_, err := io.Copy(io.Discard, r.Body)
		failed <- err
	}))}))
	w.say(t, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n"+auth+"\r\npart")
	<-begun
	_ = w.Close()
	select {
	case err := <-failed:
		if err == nil {
			t.Error("the app took a part for the whole")
		}
	case <-time.After(20 * time.Second):
		t.Error("the app waits")
	}
}

// TestAppDiesInItsAnswer: a part must not look like the whole.
func TestAppDiesInItsAnswer(t *testing.T) {
	t.Parallel()
	a, _ := startAgent(t, good)
	for name, head := range map[string]string{"length": "Content-Length: 100\r\n\r\npart", "chunks": "Transfer-Encoding: chunked\r\n\r\n4\r\npart\r\n"} {
		w := dialRaw(t, front(t, a, Options{Upstream: app(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			c, _, err := http.NewResponseController(w).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			defer c.Close()
			fmt.Fprint(c, "HTTP/1.1 200 OK\r\n"+head)
		}))}))
		w.say(t, "GET / HTTP/1.1\r\nHost: x\r\n"+auth+"\r\n")
		res := w.answer(t)
		defer res.Body.Close()
		if got, err := io.ReadAll(res.Body); err == nil || string(got) != "part" {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
}

// TestP5_NothingIsSmuggled: bytes that one side takes for a body and the other
// for a request (RFC 9112 section 11.2) reach no app without a token.
func TestP5_NothingIsSmuggled(t *testing.T) {
	t.Parallel()
	a, _ := startAgent(t, good)
	var mu sync.Mutex
	var reached []string
	base := front(t, a, Options{AllowPaths: []string{"POST /open"}, Upstream: app(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		mu.Lock()
		reached = append(reached, r.Method+" "+r.RequestURI)
		mu.Unlock()
	}))})
	const hidden = "GET /hidden HTTP/1.1\r\nHost: x\r\n\r\n"
	length := fmt.Sprintf("Content-Length: %d\r\n", len("0\r\n\r\n"+hidden))
	for _, path := range []string{"/", "/open"} {
		for name, rest := range map[string]string{
			"CL and TE":          length + "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + hidden,
			"TE and CL":          "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n" + hidden,
			"two CLs":            "Content-Length: 0\r\n" + length + "\r\n" + hidden,
			"CL with plus":       "Content-Length: +0\r\n\r\n" + hidden,
			"CL list":            "Content-Length: 0, 5\r\n\r\n" + hidden,
			"TE twice":           "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n" + hidden,
			"TE not final":       "Transfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n" + hidden,
			"TE tab":             "Transfer-Encoding: \tchunked\r\n\r\n0\r\n\r\n" + hidden,
			"TE space name":      "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n" + hidden,
			"TE underscore":      "Transfer_Encoding: chunked\r\n" + length + "\r\n0\r\n\r\n" + hidden,
			"TE by Connection":   "Connection: Transfer-Encoding\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + hidden,
			"CL by Connection":   "Connection: Content-Length\r\n" + length + "\r\n0\r\n\r\n" + hidden,
			"folded":             "X: y\r\n Transfer-Encoding: chunked\r\n\r\n" + hidden,
			"bare LF":            "Content-Length: 0\n\n" + hidden,
			"chunk extension":    "Transfer-Encoding: chunked\r\n\r\n0;a=\n\r\n" + hidden,
			"token for the next": "Content-Length: 0\r\nConnection: keep-alive, dapr-api-token\r\n\r\n" + hidden,
		} {
			w := dialRaw(t, base)
			w.say(t, "POST "+path+" HTTP/1.1\r\nHost: x\r\n"+rest)
			_ = w.Conn.(*net.TCPConn).CloseWrite()
			w.ended(t)
			mu.Lock()
			for _, what := range reached {
				if what != "POST /open" {
					t.Errorf("%s at %s: %s reached the app", name, path, what)
				}
			}
			reached = nil
			mu.Unlock()
		}
	}
}

// TestKeepAliveAfterRefusals: a refusal without a body costs no connection, and
// leaves nothing behind for the request after it.
func TestKeepAliveAfterRefusals(t *testing.T) {
	t.Parallel()
	a, _ := startAgent(t, good)
	w := dialRaw(t, front(t, a, Options{Upstream: app(t, echo())}))
	// All at once: pipelined (RFC 9112 section 9.3.2).
	w.say(t, "GET /1 HTTP/1.1\r\nHost: x\r\n\r\nGET /2 HTTP/1.1\r\nHost: x\r\n"+auth+"\r\nGET /3 HTTP/1.1\r\nHost: x\r\n\r\n")
	for i, want := range []int{401, 200, 401} {
		res := w.answer(t)
		_, _ = io.Copy(io.Discard, res.Body)
		_ = res.Body.Close()
		if res.StatusCode != want {
			t.Errorf("request %d: %d, want %d", i+1, res.StatusCode, want)
		}
	}
}

// TestLimits: who has proved nothing is slow for a while only; an answer may
// take its time.
func TestLimits(t *testing.T) {
	t.Parallel()
	a, _ := startAgent(t, good)
	o := Options{Upstream: app(t, echo()), Logger: slog.New(slog.DiscardHandler)}
	s := o.server(single(a, o))
	t.Cleanup(s.Handler.(*proxy).closeIdle)
	if s.ReadHeaderTimeout != headerTimeout || s.WriteTimeout != 0 || s.ReadTimeout != 0 {
		t.Errorf("header %s, write %s, read %s", s.ReadHeaderTimeout, s.WriteTimeout, s.ReadTimeout)
	}
	s.ReadHeaderTimeout = 20 * time.Millisecond
	w := dialRaw(t, serve(t, s))
	w.say(t, "GET / HTTP/1.1\r\nHost: x\r\n"+auth) // and no end
	w.ended(t)
}

func TestUpstreamOnASocket(t *testing.T) {
	t.Parallel()
	for _, scheme := range []string{"unix", "h2c+unix"} {
		a, _ := startAgent(t, good)
		path := filepath.Join(t.TempDir(), "a b.sock")
		base := front(t, a, Options{Upstream: &url.URL{Scheme: scheme, Path: path}})
		if r := ask(t, "GET", base, "dapr-api-token: "+good); r.code != http.StatusBadGateway || strings.Contains(r.body, path) {
			t.Errorf("%s, before: %d %s", scheme, r.code, r.body)
		}
		l, err := (&net.ListenConfig{}).Listen(t.Context(), "unix", path)
		if err != nil {
			t.Fatal(err)
		}
		s := newServer(slog.New(slog.DiscardHandler))
		s.Handler = echo()
		var serving sync.WaitGroup
		serving.Go(func() { _ = s.Serve(l) })
		t.Cleanup(func() { _ = s.Close(); serving.Wait() })
		got := ask(t, "GET", base+"/x?y", "dapr-api-token: "+good).seen(t)
		if want := map[string]string{"unix": "HTTP/1.1", "h2c+unix": "HTTP/2.0"}[scheme]; got.Proto != want || got.URI != "/x?y" || got.Host != strings.TrimPrefix(base, "http://") {
			t.Errorf("%s: %+v", scheme, got)
		}
		if r := ask(t, "GET", base); r.code != http.StatusUnauthorized {
			t.Errorf("%s, without a token: %d", scheme, r.code)
		}
	}
}

// TestForwardedForOfASocketsClient: it has no address, and what a gateway
// before it said stays.
func TestForwardedForOfASocketsClient(t *testing.T) {
	t.Parallel()
	a, _ := startAgent(t, good)
	o := Options{Upstream: app(t, echo()), Logger: slog.New(slog.DiscardHandler)}
	s := o.server(single(a, o))
	path := filepath.Join(t.TempDir(), "s")
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "unix", path)
	if err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	serving.Go(func() { _ = s.Serve(l) })
	t.Cleanup(func() { _ = s.Close(); serving.Wait(); s.Handler.(*proxy).closeIdle() })
	tr := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", path)
	}}
	t.Cleanup(tr.CloseIdleConnections)
	for _, before := range []string{"", "203.0.113.7"} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://app.example/", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Dapr-Api-Token", good)
		r.Header.Set("Forwarded", "for=203.0.113.9")
		if before != "" {
			r.Header.Set("X-Forwarded-For", before)
		}
		res, err := tr.RoundTrip(r)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(res.Body)
		_ = res.Body.Close()
		got := reply{code: res.StatusCode, body: string(body)}.seen(t)
		if got.Header.Get("X-Forwarded-For") != before || got.Header.Get("Forwarded") != "for=203.0.113.9" || got.Header.Get("X-Forwarded-Host") != "app.example" || got.Host != "app.example" {
			t.Errorf("after %q: %v", before, got.Header)
		}
	}
}

// TestP5_ForgedSubjects: no spelling, place or protocol lets a client name
// itself.
func TestP5_ForgedSubjects(t *testing.T) {
	t.Parallel()
	a, _ := startAgent(t, good)
	var forged, asked atomic.Int32
	base := front(t, a, Options{AllowPaths: []string{"/open"}, Upstream: app(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		for _, h := range []http.Header{r.Header, r.Trailer} {
			for name, values := range h {
				if strings.Contains(strings.ToLower(strings.ReplaceAll(name, "_", "-")), "subject") && strings.Join(values, "") != "token" {
					forged.Add(1)
					t.Errorf("%s: %q", name, values)
				}
			}
		}
	}))})
	n := int32(0)
	for _, name := range []string{"X-Tokenagent-Subject", "x-tokenagent-subject", "X_TOKENAGENT_SUBJECT", "X-Tokenagent_Subject"} {
		for _, also := range []string{"", "Connection: x-tokenagent-subject\r\n", "Connection: close, X_Tokenagent_Subject\r\n"} {
			for _, head := range []string{"GET /open HTTP/1.1\r\n", "GET /x HTTP/1.1\r\n" + auth, "GET http://y/x HTTP/1.1\r\n" + auth} {
				w := dialRaw(t, base)
				w.say(t, head+"Host: x\r\n"+also+name+": admin\r\n"+name+": root\r\n\r\n")
				res := w.answer(t)
				_ = res.Body.Close()
				if res.StatusCode != http.StatusOK {
					t.Errorf("%s: %d", name, res.StatusCode)
				}
				n++
			}
		}
	}
	if asked.Load() != n || forged.Load() != 0 {
		t.Errorf("%d of %d asked, %d forged", asked.Load(), n, forged.Load())
	}
}
