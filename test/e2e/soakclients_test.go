package e2e

import (
	"context"
	"io"
	"net"
	"net/http"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
)

// clients runs one client of every kind, well-behaved ones and others.
func (s *soak) clients(old, next sharedToken) {
	s.t.Helper()
	s.http1(next, http.StatusOK)
	s.http1(newToken(), http.StatusUnauthorized)
	s.http1("", http.StatusUnauthorized)
	s.http1(old, 0)
	s.http2(next)
	for range 2 {
		s.broken()
	}
	s.envoy(next, func(conn *grpc.ClientConn, _ net.Conn) { _ = conn.Close() })
	// This is a gateway that crashes: its connection ends, and all streams with it.
	s.envoy(next, func(conn *grpc.ClientConn, below net.Conn) {
		_ = below.Close()
		_ = conn.Close()
	})
	s.view.Pages()
}

// http1 is a gateway that connects, asks three times and goes. want is the
// status; 0 where the overlap may be over or not.
func (s *soak) http1(token sharedToken, want int) {
	s.t.Helper()
	client := &http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: 1}}
	defer client.CloseIdleConnections()
	for range 3 {
		if status := s.get(client, token); want != 0 && status != want {
			s.t.Errorf("status %d, want %d", status, want)
		}
	}
}

// http2 is one that does so over HTTP/2 without TLS.
func (s *soak) http2(token sharedToken) {
	s.t.Helper()
	var p http.Protocols
	p.SetUnencryptedHTTP2(true)
	client := &http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{Protocols: &p}}
	defer client.CloseIdleConnections()
	if status := s.get(client, token); status != http.StatusOK {
		s.t.Errorf("over HTTP/2: %d", status)
	}
}

func (s *soak) get(client *http.Client, token sharedToken) int {
	s.t.Helper()
	r, err := http.NewRequestWithContext(s.t.Context(), http.MethodGet, "http://"+s.forward, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	if token != "" {
		r.Header.Set("dapr-api-token", string(token))
	}
	res, err := client.Do(r)
	if err != nil {
		s.t.Fatal(err)
	}
	defer res.Body.Close()
	_, _ = io.Copy(io.Discard, res.Body)
	return res.StatusCode
}

// broken connects to each listener and ends the connection: without data, in the middle
// of a request, and after invalid data; each with a close and with a reset.
func (s *soak) broken() {
	s.t.Helper()
	for network, addr := range map[string]string{"tcp": s.forward, "unix": s.authz, "tcp4": s.admin} {
		for _, say := range []string{"", "GET / HTTP/1.1\r\nHost: h\r\ndapr-api", "GET / HTTP/1.1\r\nHost: h\r\n\r\n", "\x16\x03\x01 nonsense\r\n\r\n", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"} {
			for _, reset := range []bool{false, true} {
				conn, err := (&net.Dialer{Timeout: 20 * time.Second}).DialContext(s.t.Context(), network, addr)
				if err != nil {
					s.t.Fatal(err)
				}
				_, _ = io.WriteString(conn, say)
				if tcp, ok := conn.(*net.TCPConn); ok && reset {
					_ = tcp.SetLinger(0)
				}
				_ = conn.Close()
			}
		}
	}
}

// envoy asks over gRPC, watches the health, and then ends as told.
func (s *soak) envoy(token sharedToken, end func(conn *grpc.ClientConn, below net.Conn)) {
	s.t.Helper()
	var below net.Conn
	conn, err := grpc.NewClient("passthrough:///authz", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) {
			var err error
			below, err = (&net.Dialer{}).DialContext(ctx, "unix", s.authz)
			return below, err
		}))
	if err != nil {
		s.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(s.t.Context(), 20*time.Second)
	defer cancel()
	var watches []grpc.ServerStreamingClient[healthpb.HealthCheckResponse]
	alone, leave := context.WithCancel(ctx)
	defer leave()
	for _, ctx := range []context.Context{ctx, ctx, alone} {
		w, err := healthpb.NewHealthClient(conn).Watch(ctx, &healthpb.HealthCheckRequest{})
		if err == nil {
			_, err = w.Recv()
		}
		if err != nil {
			s.t.Fatalf("watch: %v", err)
		}
		watches = append(watches, w)
	}
	for _, c := range []struct {
		token string
		code  int32
	}{{string(token), 0}, {string(newToken()), 16}} {
		r, err := authv3.NewAuthorizationClient(conn).Check(ctx, &authv3.CheckRequest{Attributes: &authv3.AttributeContext{Request: &authv3.AttributeContext_Request{
			Http: &authv3.AttributeContext_HttpRequest{HeaderMap: &corev3.HeaderMap{Headers: []*corev3.HeaderValue{{Key: "dapr-api-token", RawValue: []byte(c.token)}}}},
		}}})
		if err != nil || r.GetStatus().GetCode() != c.code {
			s.t.Errorf("check: %v, not %d, %v", r.GetStatus().GetCode(), c.code, err)
		}
	}
	leave() // one watch by itself
	end(conn, below)
	for _, w := range watches {
		if _, err := w.Recv(); err == nil {
			s.t.Error("a watch goes on")
		}
	}
}
