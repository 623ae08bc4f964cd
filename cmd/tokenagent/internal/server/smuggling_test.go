package server

import (
	"bufio"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"
)

// TestP5_NothingIsSmuggled checks that no request without a token reaches the app inside
// bytes that one side reads as a body and the other as a request (RFC 9112 section 11.2).
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

// TestKeepAliveAfterRefusals checks that the connection stays open after a request without a
// body is refused, and that the refusal does not affect the next request.
func TestKeepAliveAfterRefusals(t *testing.T) {
	t.Parallel()
	a, _ := startAgent(t, good)
	w := dialRaw(t, front(t, a, Options{Upstream: app(t, echo())}))
	// The requests are pipelined (RFC 9112 section 9.3.2).
	w.say(t, "GET /1 HTTP/1.1\r\nHost: x\r\n\r\nGET /2 HTTP/1.1\r\nHost: x\r\n"+auth+"\r\nGET /3 HTTP/1.1\r\nHost: x\r\n\r\n")
	for i, want := range []int{401, 200, 401} {
		res := w.answer(t)
		_, _ = io.Copy(io.Discard, res.Body)
		if res.StatusCode != want {
			t.Errorf("request %d: %d, want %d", i+1, res.StatusCode, want)
		}
	}
}

func TestExpectContinue(t *testing.T) {
	t.Parallel()
	a, _ := startAgent(t, good)
	base := front(t, a, Options{Upstream: app(t, echo())})
	w := dialRaw(t, base)
	w.say(t, "POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n")
	refused := w.answer(t)
	if refused.StatusCode != http.StatusUnauthorized { // a 100 before it would be here instead
		t.Errorf("without a token: %d", refused.StatusCode)
	}
	w.ended(t)
	w = dialRaw(t, base)
	w.say(t, "POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 4\r\n"+auth+"\r\n")
	w.hear(t, "HTTP/1.1 100 Continue\r\n\r\n")
	w.say(t, "body")
	res := w.answer(t)
	if got, _ := io.ReadAll(res.Body); !strings.Contains(string(got), `"body":"body"`) {
		t.Errorf("%d %s", res.StatusCode, got)
	}
}

// TestOneContinue checks that the client gets one 100 (Continue), also if the app sends its
// own.
func TestOneContinue(t *testing.T) {
	t.Parallel()
	a, _ := startAgent(t, good)
	w := dialRaw(t, front(t, a, Options{Upstream: app(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.WriteHeader(http.StatusContinue)
		w.Header().Set("X-Early", "yes")
		w.WriteHeader(http.StatusEarlyHints)
	}))}))
	w.say(t, "POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 4\r\n"+auth+"\r\n")
	w.hear(t, "HTTP/1.1 100 Continue\r\n\r\n")
	w.say(t, "body")
	if res := w.answer(t); res.StatusCode != http.StatusEarlyHints || res.Header.Get("X-Early") != "yes" {
		t.Errorf("after it: %d %v", res.StatusCode, res.Header)
	}
	if res := w.answer(t); res.StatusCode != http.StatusOK {
		t.Errorf("in the end: %d", res.StatusCode)
	}
}

// TestLimits checks that a client that is not authenticated yet must send its header in
// time, and that an answer may take long.
func TestLimits(t *testing.T) {
	t.Parallel()
	a, _ := startAgent(t, good)
	o := Options{Upstream: app(t, echo()), Logger: slog.New(slog.DiscardHandler)}
	s := newMain(o, single(a, o))
	if s.ReadHeaderTimeout != headerTimeout || s.WriteTimeout != 0 || s.ReadTimeout != 0 {
		t.Errorf("header %s, write %s, read %s", s.ReadHeaderTimeout, s.WriteTimeout, s.ReadTimeout)
	}
	s.ReadHeaderTimeout = 20 * time.Millisecond
	w := dialRaw(t, serve(t, s))
	w.say(t, "GET / HTTP/1.1\r\nHost: x\r\n"+auth) // the header does not end
	w.ended(t)
}

// TestP5_NoRequestInARefusedBody checks that the body of a refused request is not read as a
// request, even if it holds a token. The next request is answered, or the connection ends.
func TestP5_NoRequestInARefusedBody(t *testing.T) {
	t.Parallel()
	const hidden = "GET /hidden HTTP/1.1\r\nHost: x\r\n" + auth + "\r\n"
	a, _ := startAgent(t, good)
	base := front(t, a, Options{Upstream: app(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/next" {
			t.Errorf("%s reached the app", r.URL.Path)
		}
	}))})
	length := fmt.Sprintf("Content-Length: %d\r\n\r\n%s", len(hidden), hidden)
	for name, rest := range map[string]string{
		"length": length,
		"chunks": fmt.Sprintf("Transfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n", len(hidden), hidden),
		"expect": "Expect: 100-continue\r\n" + length,
	} {
		w := dialRaw(t, base)
		w.say(t, "POST / HTTP/1.1\r\nHost: x\r\n"+rest+"GET /next HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"+auth+"\r\n")
		res := w.answer(t)
		_, _ = io.Copy(io.Discard, res.Body)
		if res.StatusCode != http.StatusUnauthorized {
			t.Errorf("%s: %d", name, res.StatusCode)
		}
		w.ended(t)
	}
}

// TestAfterABodyThatCannotBeRead checks that no other request follows on the connection.
func TestAfterABodyThatCannotBeRead(t *testing.T) {
	t.Parallel()
	a, _ := startAgent(t, good)
	base := front(t, a, Options{AllowPaths: []string{"POST /open"}, Upstream: app(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
	}))})
	w := dialRaw(t, base)
	w.say(t, "POST /open HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\nPOST /open HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
	if res := w.answer(t); res.StatusCode != http.StatusBadGateway || !res.Close {
		t.Errorf("%d, close %t", res.StatusCode, res.Close)
	}
	w.ended(t)
}

// TestNoRequestLineInAQuery checks that a query does not end the request line of the app.
// Over HTTP/2 a query may hold the characters that do.
func TestNoRequestLineInAQuery(t *testing.T) {
	t.Parallel()
	a, _ := startAgent(t, good)
	o := Options{Logger: slog.New(slog.DiscardHandler), AllowPaths: []string{"/open"}, Upstream: app(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("it arrived") }))}
	h := newMain(o, single(a, o)).Handler
	for _, query := range []string{"a b HTTP/1.0", "a\tb", "a\r\nX: y", "a\x7f"} {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/open", nil)
		r.URL.RawQuery = query
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code != http.StatusBadRequest {
			t.Errorf("%q: %d", query, w.Code)
		}
	}
}

// lineApp starts an app that accepts any request line and sends each to the channel.
func lineApp(t *testing.T) (*url.URL, <-chan string) {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	lines := make(chan string, 1)
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			line, _ := bufio.NewReader(c).ReadString('\n')
			lines <- strings.TrimSpace(line)
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
			_ = c.Close()
		}
	})
	t.Cleanup(func() { _ = l.Close(); serving.Wait() })
	return &url.URL{Scheme: "http", Host: l.Addr().String()}, lines
}

// TestP5_NoTargetThatIsNoPath checks that the app gets no target that is not a path. A
// target such as a:b would get into the request line unchanged, with its spaces, and
// CONNECT would ask the app for a tunnel. OPTIONS * reaches the app.
func TestP5_NoTargetThatIsNoPath(t *testing.T) {
	t.Parallel()
	a, _ := startAgent(t, good)
	upstream, lines := lineApp(t)
	o := Options{Logger: slog.New(slog.DiscardHandler), Upstream: upstream}
	s := newMain(o, single(a, o))
	base := serve(t, s)
	check := func(what string, code int, want string) {
		t.Helper()
		got := ""
		if code == http.StatusOK {
			got = <-lines
		}
		if got != want || want == "" && code != http.StatusBadRequest {
			t.Errorf("%s: %d, %q reached the app, want %q", what, code, got, want)
		}
	}
	for line, want := range map[string]string{
		"GET a:foo": "", "GET http:foo": "", "OPTIONS a:*": "", "CONNECT x:80": "", "CONNECT /path": "",
		"OPTIONS *": "OPTIONS * HTTP/1.1", "GET http://x/y": "GET /y HTTP/1.1", "GET a:/y": "GET /y HTTP/1.1",
	} {
		w := dialRaw(t, base)
		w.say(t, line+" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"+auth+"\r\n")
		check(line, w.answer(t).StatusCode, want)
	}
	for _, target := range []string{"a:foo bar HTTP/1.1", "a:b"} { // net/http accepts these over HTTP/2
		u, err := url.ParseRequestURI(target)
		if err != nil {
			t.Fatal(err)
		}
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil)
		r.URL, r.ProtoMajor = u, 2
		r.Header.Set("Dapr-Api-Token", good)
		w := httptest.NewRecorder()
		s.Handler.ServeHTTP(w, r)
		check(target, w.Code, "")
	}
}
