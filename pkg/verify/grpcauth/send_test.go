package grpcauth_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/http/httptest"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	testpb "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/test/bufconn"

	"github.com/tokenagent/tokenagent/pkg/verify"
	"github.com/tokenagent/tokenagent/pkg/verify/grpcauth"
)

// A sourceFunc is a TokenSource.
type sourceFunc func() (string, error)

func (f sourceFunc) Token() (string, error) { return f() }

// A static source is a TokenSource that fmt can print.
type static string

func (s static) Token() (string, error) { return string(s), nil }

// tokens returns a source that returns the tokens of list in order, then the last one
// again and again.
func tokens(list ...string) sourceFunc {
	var mu sync.Mutex
	return func() (string, error) {
		mu.Lock()
		defer mu.Unlock()
		token := list[0]
		list = list[min(1, len(list)-1):]
		return token, nil
	}
}

// A log records the values of one metadata key of each call.
type log struct {
	mu     sync.Mutex
	values []string
}

func (l *log) note(ctx context.Context, key string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.values = append(l.values, strings.Join(metadata.ValueFromIncomingContext(ctx, key), "|"))
}

// take returns the values recorded since the last take.
func (l *log) take() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	values := l.values
	l.values = nil
	return values
}

// noting returns the options of a server that records the values of key.
func (l *log) noting(key string) []grpc.ServerOption {
	return []grpc.ServerOption{
		grpc.ChainUnaryInterceptor(func(ctx context.Context, req any, _ *grpc.UnaryServerInfo, h grpc.UnaryHandler) (any, error) {
			l.note(ctx, key)
			return h(ctx, req)
		}),
		grpc.ChainStreamInterceptor(func(srv any, ss grpc.ServerStream, _ *grpc.StreamServerInfo, h grpc.StreamHandler) error {
			l.note(ss.Context(), key)
			return h(srv, ss)
		}),
	}
}

// protected returns the options of a server behind both interceptors.
func protected(u grpc.UnaryServerInterceptor, s grpc.StreamServerInterceptor) []grpc.ServerOption {
	return []grpc.ServerOption{grpc.ChainUnaryInterceptor(u), grpc.ChainStreamInterceptor(s)}
}

// loopback listens on TCP until the test ends.
func loopback(tb testing.TB) net.Listener {
	tb.Helper()
	l, err := (&net.ListenConfig{}).Listen(tb.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	return l
}

// socket listens on a Unix socket, whose path must be short.
func socket(tb testing.TB) net.Listener {
	tb.Helper()
	path := filepath.Join(tb.TempDir(), "s")
	if runtime.GOOS == "windows" || len(path) > 100 {
		tb.Skip("no such socket here")
	}
	l, err := (&net.ListenConfig{}).Listen(tb.Context(), "unix", path)
	if err != nil {
		tb.Fatal(err)
	}
	return l
}

// host serves on l until the test ends.
func host(tb testing.TB, l net.Listener, opts ...grpc.ServerOption) {
	tb.Helper()
	s := grpc.NewServer(opts...)
	testpb.RegisterTestServiceServer(s, service{})
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	tb.Cleanup(func() {
		s.Stop()
		if err := <-served; err != nil {
			tb.Error(err)
		}
	})
}

// client connects to target, in plain text unless opts say otherwise.
func client(tb testing.TB, target string, opts ...grpc.DialOption) testpb.TestServiceClient {
	tb.Helper()
	conn, err := grpc.NewClient(target, append([]grpc.DialOption{grpc.WithTransportCredentials(insecure.NewCredentials())}, opts...)...)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = conn.Close() })
	return testpb.NewTestServiceClient(conn)
}

// sends sends tokens of src to hosts.
func sends(src verify.TokenSource, hosts ...string) grpc.DialOption {
	return grpc.WithPerRPCCredentials(grpcauth.PerRPCCredentials(src, grpcauth.CredentialsOptions{Hosts: hosts}))
}

// over connects through l and ignores the target.
func over(l net.Listener) grpc.DialOption {
	return grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) {
		if b, ok := l.(*bufconn.Listener); ok {
			return b.DialContext(ctx)
		}
		return (&net.Dialer{}).DialContext(ctx, l.Addr().Network(), l.Addr().String())
	})
}

// certified returns the transport credentials of both sides of TLS, for
// 127.0.0.1 and example.com.
func certified(t *testing.T) (server, client credentials.TransportCredentials) {
	t.Helper()
	s := httptest.NewTLSServer(nil) // which brings a certificate
	defer s.Close()
	pool := x509.NewCertPool()
	pool.AddCert(s.Certificate())
	return credentials.NewTLS(&tls.Config{Certificates: s.TLS.Certificates}), credentials.NewTLS(&tls.Config{RootCAs: pool})
}
