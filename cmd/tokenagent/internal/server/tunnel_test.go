package server

import (
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"
)

// frame is a masked frame of RFC 6455 section 5.7: a text of "Hello".
const frame = "\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58"

// shake sends the opening handshake of RFC 6455 section 1.3.
func shake(t *testing.T, base string, headers ...string) *wire {
	t.Helper()
	w := dialRaw(t, base)
	w.say(t, "GET /chat HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"+
		"Sec-WebSocket-Protocol: chat\r\nSec-WebSocket-Version: 13\r\n"+strings.Join(append(headers, "\r\n"), "\r\n"))
	return w
}

// chatter starts an app that accepts WebSockets and sends each connection to a channel.
func chatter(t *testing.T) (*url.URL, <-chan *wire, <-chan http.Header) {
	t.Helper()
	conns, headers := make(chan *wire, 8), make(chan http.Header, 8)
	u := app(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, rw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		_ = c.SetDeadline(time.Now().Add(20 * time.Second))
		fmt.Fprint(c, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n")
		headers <- r.Header
		conns <- &wire{c, rw.Reader}
	}))
	return u, conns, headers
}

func open(t *testing.T, base string, conns <-chan *wire) (client, server *wire) {
	t.Helper()
	client = shake(t, base, "dapr-api-token: "+good)
	if res := client.answer(t); res.StatusCode != http.StatusSwitchingProtocols || res.Header.Get("Sec-Websocket-Accept") == "" {
		t.Fatalf("%d %v", res.StatusCode, res.Header)
	}
	server = <-conns
	t.Cleanup(func() { _ = server.Close() })
	return client, server
}

func TestWebSocket(t *testing.T) {
	t.Parallel()
	a, _ := startAgent(t, good)
	u, conns, headers := chatter(t)
	base := front(t, a, Options{Upstream: u})
	client, server := open(t, base, conns)
	h := <-headers
	for name, want := range map[string]string{"Dapr-Api-Token": "", "X-Tokenagent-Subject": "token", "Sec-Websocket-Protocol": "chat", "Sec-Websocket-Version": "13"} {
		if got := h.Get(name); got != want {
			t.Errorf("the app saw %s %q, want %q", name, got, want)
		}
	}
	client.say(t, frame)
	server.hear(t, frame)
	server.say(t, "\x81\x05Hello")
	client.hear(t, "\x81\x05Hello")
	// One direction is closed. The other still works.
	if err := client.Conn.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	server.ended(t)
	server.say(t, "\x88\x00")
	_ = server.Close()
	client.hear(t, "\x88\x00")
	client.ended(t)
}

func TestWebSocketEndsWithEitherSide(t *testing.T) {
	t.Parallel()
	a, _ := startAgent(t, good)
	u, conns, _ := chatter(t)
	base := front(t, a, Options{Upstream: u, Logger: slog.New(slog.DiscardHandler)})
	client, server := open(t, base, conns)
	_ = client.Conn.(*net.TCPConn).SetLinger(0) // Close resets the connection
	_ = client.Close()
	server.ended(t)
}

func TestWebSocketEndsWithTheApp(t *testing.T) {
	t.Parallel()
	a, _ := startAgent(t, good)
	u, conns, _ := chatter(t)
	client, server := open(t, front(t, a, Options{Upstream: u}), conns)
	_ = server.Conn.(*net.TCPConn).SetLinger(0)
	_ = server.Close()
	client.ended(t)
}

// TestDrainEndsTunnels checks that draining ends tunnels, which http.Server does not track.
func TestDrainEndsTunnels(t *testing.T) {
	t.Parallel()
	a, _ := startAgent(t, good)
	u, conns, _ := chatter(t)
	d := runDaemon(t, a, Options{Upstream: u, DrainTimeout: time.Nanosecond})
	client, server := open(t, d.main, conns)
	d.stop()
	select {
	case err := <-d.ended:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("a tunnel holds the end up")
	}
	client.ended(t)
	server.ended(t)
	if !strings.Contains(d.log.String(), "cut off at the end of the drain timeout") {
		t.Errorf("the log does not say so: %s", d.log)
	}
}

// TestDrainEndsATunnelThatNobodyReads checks that draining ends a tunnel that waits in a
// write, which no context can cancel. A pipe has no buffer, so the first byte waits.
func TestDrainEndsATunnelThatNobodyReads(t *testing.T) {
	t.Parallel()
	a, _ := startAgent(t, good)
	u, conns, _ := chatter(t)
	o := Options{Upstream: u, DrainTimeout: time.Nanosecond, Logger: slog.New(slog.DiscardHandler)}
	s := newMain(o, single(a, o))
	l := servePipes(t, s)
	client := l.dial(t)
	client.say(t, "GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"+auth+"\r\n")
	client.answer(t)
	server := <-conns
	t.Cleanup(func() { _ = server.Close() })
	l.said("stuck", func() { server.say(t, "stuck") })
	drained := make(chan struct{})
	d := &daemon{Options: o, endpoints: []endpoint{{"listen", "", s}}}
	go func() { d.drain(t.Context()); close(drained) }()
	select {
	case <-drained:
	case <-time.After(20 * time.Second):
		t.Fatal("it holds the end up")
	}
	server.ended(t)
}

// TestDrainWaitsForTunnels checks that a tunnel has the whole timeout to end by itself.
func TestDrainWaitsForTunnels(t *testing.T) {
	t.Parallel()
	a, _ := startAgent(t, good)
	u, conns, _ := chatter(t)
	d := runDaemon(t, a, Options{Upstream: u})
	client, server := open(t, d.main, conns)
	d.stop()
	until(t, "it drains", func() bool { return strings.Contains(d.log.String(), "draining") })
	until(t, "nobody is let in", func() bool {
		c, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", strings.TrimPrefix(d.main, "http://"))
		if err == nil {
			_ = c.Close()
		}
		return err != nil
	})
	for range 20 {
		client.say(t, frame)
		server.hear(t, frame)
		if r := ask(t, "GET", d.admin+"/livez"); r.code != http.StatusOK { // the admin port ends last
			t.Fatalf("the admin port: %d", r.code)
		}
	}
	_ = client.Close()
	server.ended(t)
	_ = server.Close()
	if err := <-d.ended; err != nil {
		t.Error(err)
	}
	if strings.Contains(d.log.String(), "cut off") {
		t.Errorf("cut off: %s", d.log)
	}
}

// TestP5_NoTunnelThatNobodyAskedFor checks that an app cannot open a tunnel with a 101 that
// the request did not ask for.
func TestP5_NoTunnelThatNobodyAskedFor(t *testing.T) {
	t.Parallel()
	a, _ := startAgent(t, good)
	base := front(t, a, Options{AllowPaths: []string{"/open"}, Upstream: app(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		c, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer c.Close()
		fmt.Fprint(c, "HTTP/1.1 101 Switching Protocols\r\n\r\n")
	}))})
	w := dialRaw(t, base)
	w.say(t, "GET /open HTTP/1.1\r\nHost: x\r\n\r\n")
	if res := w.answer(t); res.StatusCode != http.StatusBadGateway {
		t.Errorf("%d", res.StatusCode)
	}
}
