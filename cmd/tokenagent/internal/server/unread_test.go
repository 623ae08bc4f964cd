package server

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/textproto"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
)

// A careless app answers each request with 200 and does not read its body, like Python's
// http.server. It reads the rest of the body as the next request, unless the request asked
// to close the connection.
type careless struct {
	url *url.URL

	mu   sync.Mutex
	seen []string // request lines, each followed by the subject
}

func startCareless(t *testing.T) *careless {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := &careless{url: &url.URL{Scheme: "http", Host: l.Addr().String()}}
	ctx, cancel := context.WithCancel(context.Background())
	var serving sync.WaitGroup
	t.Cleanup(func() { cancel(); _ = l.Close(); serving.Wait() })
	serving.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			context.AfterFunc(ctx, func() { _ = conn.Close() })
			serving.Go(func() { c.serve(conn) })
		}
	})
	return c
}

func (c *careless) serve(conn net.Conn) {
	defer conn.Close()
	in := textproto.NewReader(bufio.NewReader(conn))
	for {
		line, err := in.ReadLine()
		if err != nil {
			return
		}
		header, err := in.ReadMIMEHeader()
		if err != nil {
			return
		}
		c.mu.Lock()
		c.seen = append(c.seen, line+" "+header.Get("X-Tokenagent-Subject"))
		c.mu.Unlock()
		if _, err := io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"); err != nil || header.Get("Connection") == "close" {
			return
		}
	}
}

func (c *careless) requests() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]string(nil), c.seen...)
}

// TestP5_NoRequestInABody checks that a body that an app leaves unread does not become a
// request that nobody has checked, or one with the identity of another caller.
func TestP5_NoRequestInABody(t *testing.T) {
	t.Parallel()
	a, _ := startAgent(t, good)
	const inner = "POST /orders HTTP/1.1\r\nHost: x\r\nX-Tokenagent-Subject: admin\r\nContent-Length: 0\r\n\r\n"
	for name, c := range map[string]struct{ method, path, token string }{
		"a health check":            {"GET", "/healthz", ""},
		"a health check by POST":    {"POST", "/healthz", ""},
		"an exempt path by HEAD":    {"HEAD", "/open", ""},
		"an exempt path by POST":    {"POST", "/hook", ""},
		"GET with a token":          {"GET", "/orders", good},
		"DELETE with a token":       {"DELETE", "/orders/1", good},
		"a new method with a token": {"PURGE", "/orders", good},
	} {
		for _, chunked := range []bool{false, true} {
			app := startCareless(t)
			base := front(t, a, Options{Upstream: app.url, HealthPath: "/healthz", AllowPaths: []string{"/open", "POST /hook"}})
			client := client(t)
			ask := func(method, path, token, body string) {
				t.Helper()
				var r io.Reader = strings.NewReader(body)
				if chunked {
					r = io.MultiReader(r) // hides the length
				}
				if body == "" {
					r = nil
				}
				req, err := http.NewRequestWithContext(t.Context(), method, base+path, r)
				if err != nil {
					t.Fatal(err)
				}
				if token != "" {
					req.Header.Set("Dapr-Api-Token", token)
				}
				res, err := client.Do(req)
				if err != nil {
					t.Fatal(err)
				}
				_, _ = io.Copy(io.Discard, res.Body)
				_ = res.Body.Close()
			}
			ask(c.method, c.path, c.token, inner)
			for range 3 { // on the same connection to the app, if it stays open
				ask("GET", "/healthz", "", "")
			}
			for _, line := range app.requests() {
				if strings.Contains(line, "admin") || strings.HasPrefix(line, "POST /orders") {
					t.Errorf("%s, chunked %t: the app got %q", name, chunked, line)
				}
			}
		}
	}
}

// TestP5_NoForgedIdentityInAnotherForm checks that the proxy removes identity headers in
// which another character stands for '-'. A server that turns headers into variables cannot
// tell these characters apart.
func TestP5_NoForgedIdentityInAnotherForm(t *testing.T) {
	t.Parallel()
	a, _ := startAgent(t, good)
	base := front(t, a, Options{Upstream: app(t, echo()), AllowPaths: []string{"/open"}})
	const token = "!#$%&'*+-.^_`|~" // what a name may hold besides letters and digits (RFC 9110 section 5.6.2)
	for _, path := range []string{"/", "/open"} {
		headers := []string{"dapr-api-token: " + good, "X-Tokenagent-Subjects: stays", "XaTokenagent-Subject: stays", "X-Tokenagent9Subject: stays", "X-Tokenagent-Subjec_: stays", "X-Tokenagent-Methods: stays", "XaTokenagent-Method: stays"}
		for _, c := range token {
			for _, d := range token {
				headers = append(headers, fmt.Sprintf("x%ctokenAgent%cSUBJECT: admin", c, d), fmt.Sprintf("X%ctokenagent%cMEthod: admin", c, d))
			}
		}
		s := ask(t, "GET", base+path, headers...).seen(t)
		stayed := 0
		for name, values := range s.Header {
			if slices.Contains(values, "admin") {
				t.Errorf("%s: a forged identity reaches the app as %s", path, name)
			}
			if slices.Contains(values, "stays") {
				stayed++
			}
		}
		if stayed != 6 {
			t.Errorf("%s: of 6 other headers %d stay", path, stayed)
		}
	}
}
