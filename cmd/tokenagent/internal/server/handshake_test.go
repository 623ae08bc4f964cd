package server

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"

	"github.com/tokenagent/tokenagent/agent"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/extauthz"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/listener"
)

func connect(t *testing.T, network, addr string) net.Conn {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	c, err := new(net.Dialer).DialContext(ctx, network, addr)
	if err != nil {
		t.Fatal(err)
	}
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	return c
}

// isCutOff reports whether the other side closes the connection.
func isCutOff(c net.Conn) bool {
	_, err := io.Copy(io.Discard, c)
	return !errors.Is(err, os.ErrDeadlineExceeded)
}

// fds returns the number of open file descriptors of this process.
func fds(t *testing.T) int {
	t.Helper()
	all, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Skip("no /proc here")
	}
	return len(all)
}

// untilWatched waits for the goroutines and the descriptor of a's watcher.
func untilWatched(t *testing.T, a *agent.Agent) {
	t.Helper()
	until(t, "the agent watches", func() bool { return a.Status().Sources[0].WatchMode == "events" })
}

// Failed and abandoned handshakes leave nothing behind. The test is not parallel: it
// counts goroutines and descriptors of the process.
func TestFailedHandshakesLeaveNothing(t *testing.T) {
	a, _ := startAgent(t, good)
	f, pool := selfSigned(t, t.TempDir(), "all")
	asking := f
	asking.ClientCA = f.Cert
	grpcAddr := freeAddr(t)
	d := runDaemon(t, a, Options{GRPCListen: grpcAddr, TLS: f, AdminTLS: asking})
	untilWatched(t, a)
	until(t, "certificates are watched", func() bool { return strings.Count(d.log.String(), "watching the source") >= 2 })
	hello := clientHello(t)
	for name, addr := range map[string]string{
		"listen": strings.TrimPrefix(d.main, "http://"), "grpc-listen": grpcAddr, "admin-listen": strings.TrimPrefix(d.admin, "http://"),
	} {
		round := func() {
			for _, said := range [][]byte{nil, []byte("\x16\x03\x01"), []byte("not TLS at all\r\n\r\n"), hello[:len(hello)/2], hello} {
				c := connect(t, "tcp", addr)
				_, _ = c.Write(said)
				_ = c.Close()
			}
			for _, o := range []*tls.Config{{ServerName: "agent.test", RootCAs: x509.NewCertPool()}, {ServerName: "other.test", RootCAs: pool}, {MaxVersion: tls.VersionTLS11, ServerName: "agent.test", RootCAs: pool}} {
				c := tls.Client(connect(t, "tcp", addr), o)
				if c.HandshakeContext(t.Context()) == nil {
					t.Errorf("%s: a handshake of no use went through", name)
				}
				_ = c.Close()
			}
		}
		round()
		before, running := fds(t), runtime.NumGoroutine()
		for range 40 {
			round()
		}
		until(t, name+": as many descriptors and goroutines as before", func() bool {
			return fds(t) <= before && runtime.NumGoroutine() <= running
		})
	}
}

// clientHello returns the first message of a TLS client.
func clientHello(t *testing.T) []byte {
	t.Helper()
	ours, theirs := net.Pipe()
	var talking sync.WaitGroup
	talking.Go(func() { _ = tls.Client(theirs, &tls.Config{ServerName: "agent.test"}).HandshakeContext(t.Context()) })
	b := make([]byte, 4096)
	n, err := ours.Read(b)
	_ = ours.Close()
	talking.Wait()
	if err != nil {
		t.Fatal(err)
	}
	return b[:n]
}

// A silent client is cut off by the limit on handshakes, which is short here.
func TestSilentClientIsCutOff(t *testing.T) {
	t.Parallel()
	a, _ := startAgent(t, good)
	f, _ := selfSigned(t, t.TempDir(), "all")
	o := Options{TLS: f, AdminTLS: f, Logger: slog.New(slog.DiscardHandler)}
	set := single(a, o)
	d := &daemon{Options: o, realms: set}
	main, err := d.openCertificates(t.Context(), "listen", "", f)
	t.Cleanup(d.close)
	if err != nil {
		t.Fatal(err)
	}
	const limit = 100 * time.Millisecond
	short := func(s *httpServer) *httpServer {
		if s.ReadHeaderTimeout != headerTimeout {
			t.Errorf("handshakes may take %v", s.ReadHeaderTimeout)
		}
		s.ReadHeaderTimeout = limit
		s.ReadTimeout, s.WriteTimeout = 0, 0
		return s
	}
	o.Upstream = app(t, http.NotFoundHandler())
	proxy := &daemon{Options: o, realms: set}
	for name, s := range map[string]server{
		"forward auth": short(d.mainServer(main)),
		"proxy":        short(proxy.mainServer(main)),
		"admin":        short(d.adminServer(main)),
		"grpc":         extauthz.New(set, o.Logger, append(grpcTLS(main), grpc.ConnectionTimeout(limit))...),
	} {
		t.Run(name, func(t *testing.T) {
			l, err := listener.Open(t.Context(), "127.0.0.1:0", listener.Socket{})
			if err != nil {
				t.Fatal(err)
			}
			var serving sync.WaitGroup
			serving.Go(func() { _ = s.Serve(l) })
			t.Cleanup(func() { _ = s.Close(); serving.Wait() })
			hello := clientHello(t)
			for what, said := range map[string][]byte{"nothing": nil, "half a hello": hello[:len(hello)/2], "a hello": hello} {
				c := connect(t, "tcp", l.Addr().String())
				if _, err := c.Write(said); err != nil {
					t.Fatal(err)
				}
				if !isCutOff(c) {
					t.Errorf("who says %s is not cut off", what)
				}
				_ = c.Close()
			}
		})
	}
}

// TestPlainAtTLSPort: a port with TLS answers neither plain HTTP nor plain gRPC.
func TestPlainAtTLSPort(t *testing.T) {
	t.Parallel()
	a, _ := startAgent(t, good)
	f, _ := selfSigned(t, t.TempDir(), "all")
	grpcAddr := freeAddr(t)
	d := runDaemon(t, a, Options{GRPCListen: grpcAddr, TLS: f, AdminTLS: f})
	for _, target := range []string{d.main, d.admin + "/status"} {
		got := ask(t, http.MethodGet, target, "dapr-api-token: "+good)
		if got.code != http.StatusBadRequest || !strings.Contains(got.body, "HTTPS") || got.Get("X-Tokenagent-Subject") != "" {
			t.Errorf("%s: %d %q", target, got.code, got.body)
		}
	}
	c := connect(t, "tcp", grpcAddr)
	defer c.Close()
	_, _ = c.Write([]byte("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"))
	b := make([]byte, 64)
	n, _ := c.Read(b)
	if n > 0 && b[0] != 21 || n > 7 { // a TLS alert (RFC 8446 section 5.1), and nothing more
		t.Errorf("grpc says %q", b[:n])
	}
	if !isCutOff(c) {
		t.Error("plain grpc is not cut off")
	}
}

// TestUnixSocketSpeaksNoTLS: with TLS configured, a Unix socket still speaks plain HTTP.
func TestUnixSocketSpeaksNoTLS(t *testing.T) {
	t.Parallel()
	a, _ := startAgent(t, good)
	f, _ := selfSigned(t, t.TempDir(), "all")
	f.ClientCA = f.Cert
	path := filepath.Join(t.TempDir(), "grpc.sock")
	runDaemon(t, a, Options{GRPCListen: "unix://" + path, TLS: f})
	c := connect(t, "unix", path)
	defer c.Close()
	_, _ = c.Write([]byte("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00"))
	b := make([]byte, 9)
	if _, err := io.ReadFull(c, b); err != nil || b[3] != 4 { // SETTINGS (RFC 9113 section 6.5)
		t.Errorf("grpc on a Unix socket says %q, %v", b, err)
	}
}
