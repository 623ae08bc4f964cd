package clientfiles

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/tokenagent/tokenagent/pkg/reload"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func check(tb testing.TB, errs ...error) {
	tb.Helper()
	for _, err := range errs {
		if err != nil {
			tb.Fatal(err)
		}
	}
}

func replace(tb testing.TB, path string, text []byte) {
	tb.Helper()
	check(tb, os.WriteFile(path+".new", text, 0o600), os.Rename(path+".new", path))
}

// newCertificate returns a certificate of 127.0.0.1 that is its own CA.
func newCertificate(tb testing.TB) (tls.Certificate, []byte) {
	tb.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	check(tb, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	check(tb, err)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

// A server counts its connections and answers with the Authorization header.
type server struct {
	*httptest.Server

	cert        atomic.Pointer[tls.Certificate]
	connections atomic.Int32
}

func newServer(t *testing.T, cert tls.Certificate) *server {
	t.Helper()
	s := &server{Server: httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, r.Header.Get("Authorization"))
	}))}
	s.cert.Store(&cert)
	s.TLS = &tls.Config{GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { // httptest has a certificate of its own
		return &tls.Config{Certificates: []tls.Certificate{*s.cert.Load()}}, nil
	}}
	s.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			s.connections.Add(1)
		}
	}
	s.StartTLS()
	t.Cleanup(s.Close)
	return s
}

func (s *server) host() string { return strings.TrimPrefix(s.URL, "https://") }

func get(tb testing.TB, rt http.RoundTripper, url string) (string, error) {
	tb.Helper()
	r, err := http.NewRequestWithContext(tb.Context(), http.MethodGet, url, http.NoBody)
	check(tb, err)
	resp, err := rt.RoundTrip(r)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	if r.Header.Get("Authorization") != "" {
		tb.Error("RoundTrip changed the header of the caller's request")
	}
	body, err := io.ReadAll(resp.Body)
	return string(body), err
}

func TestTransportFollowsItsFiles(t *testing.T) {
	t.Parallel()
	certA, pemA := newCertificate(t)
	certB, pemB := newCertificate(t)
	srv := newServer(t, certA)
	dir := t.TempDir()
	ca, token := filepath.Join(dir, "ca.crt"), filepath.Join(dir, "token")
	files, err := Open(Options{CAFile: ca, BearerFile: token, Name: "test"})
	check(t, err)
	rt := NewTransport(files, srv.host())
	t.Cleanup(rt.CloseIdleConnections)
	// readAgain makes the next request read the files and wait for that, as if more than 10 s
	// had passed.
	readAgain := func() {
		rt.mu.Lock()
		rt.read, rt.began = time.Time{}, time.Time{}
		rt.mu.Unlock()
	}

	if _, err := get(t, rt, srv.URL); err == nil || !strings.Contains(err.Error(), "no request without its files") || !strings.Contains(err.Error(), ca) {
		t.Errorf("without its files: %v", err)
	}
	replace(t, ca, pemA)
	replace(t, token, []byte("one\n"))
	if _, err := get(t, rt, srv.URL); err == nil {
		t.Error("the files were read twice within a second")
	}
	readAgain()
	for range 3 {
		if got, err := get(t, rt, srv.URL); got != "Bearer one" {
			t.Errorf("%q, %v", got, err)
		}
	}
	if n := srv.connections.Load(); n != 1 {
		t.Errorf("%d connections for three requests", n)
	}

	replace(t, token, []byte("two\n"))
	readAgain()
	if got, err := get(t, rt, srv.URL); got != "Bearer two" || srv.connections.Load() != 1 {
		t.Errorf("%q, %v after %d connections", got, err, srv.connections.Load())
	}
	replace(t, token, []byte("not a token"))
	readAgain()
	if got, err := get(t, rt, srv.URL); got != "Bearer two" || files.LastError() == nil {
		t.Errorf("a bad file: %q, %v, %v", got, err, files.LastError())
	}

	srv.cert.Store(&certB)
	replace(t, ca, pemB)
	readAgain()
	if got, err := get(t, rt, srv.URL); got != "Bearer two" || srv.connections.Load() != 2 {
		t.Errorf("a new CA: %q, %v after %d connections", got, err, srv.connections.Load())
	}
	rt.CloseIdleConnections()
	srv.cert.Store(&certA)
	if _, err := get(t, rt, srv.URL); err == nil {
		t.Error("a CA is trusted that is no longer in the file")
	}
}

// TestP7_TransportSendsTheTokenToItsServerOnly: another host, port or scheme gets no request.
func TestP7_TransportSendsTheTokenToItsServerOnly(t *testing.T) {
	t.Parallel()
	cert, ca := newCertificate(t)
	srv, other := newServer(t, cert), newServer(t, cert)
	dir := t.TempDir()
	replace(t, filepath.Join(dir, "ca"), ca)
	replace(t, filepath.Join(dir, "token"), []byte("CANARY"))
	files, err := Open(Options{CAFile: filepath.Join(dir, "ca"), BearerFile: filepath.Join(dir, "token")})
	check(t, err)
	rt := NewTransport(files, srv.host())
	t.Cleanup(rt.CloseIdleConnections)
	for _, url := range []string{other.URL, "http://" + srv.host(), "https://localhost:" + srv.host()[strings.LastIndex(srv.host(), ":")+1:]} {
		closed := &closeRecorder{}
		r, err := http.NewRequestWithContext(context.Background(), http.MethodPost, url, closed)
		check(t, err)
		if resp, err := rt.RoundTrip(r); err == nil || strings.Contains(err.Error(), "CANARY") || !closed.done {
			t.Errorf("%s: %v, %v; the body was closed: %v", url, resp, err, closed.done)
			_ = resp.Body.Close()
		}
	}
	if srv.connections.Load()+other.connections.Load() != 0 {
		t.Error("a connection was made")
	}
}

type closeRecorder struct{ done bool }

func (*closeRecorder) Read([]byte) (int, error) { return 0, io.EOF }

func (c *closeRecorder) Close() error {
	c.done = true
	return nil
}

// A slowFile is a file on a mount that is dead until up is closed.
type slowFile struct {
	up    chan struct{}
	reads atomic.Int32
}

func (f *slowFile) Reload() (changed bool, err error) {
	f.reads.Add(1)
	<-f.up
	return false, nil
}

func (*slowFile) Stats() reload.Stats { return reload.Stats{LastSuccess: time.Now()} }

// TestHangingReadDoesNotStopRequests: while a read of the files hangs, requests use their last
// content, and no further read begins.
func TestHangingReadDoesNotStopRequests(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		slow := &slowFile{up: make(chan struct{})}
		rt := NewTransport(&Files{all: []file{slow}}, "server.example:443")
		// request fails unless the request waits as long as want.
		request := func(ctx context.Context, name string, want time.Duration) {
			began := time.Now()
			if base, err := rt.current(ctx); base == nil || err != nil {
				t.Errorf("%s: %v", name, err)
			}
			if d := time.Since(began); d != want {
				t.Errorf("%s: waited %s, want %s", name, d, want)
			}
		}
		short, cancel := context.WithTimeout(t.Context(), maxWait/4)
		defer cancel()
		request(short, "the first request, with a short deadline", maxWait/4)
		request(t.Context(), "the second request", maxWait*3/4)
		request(t.Context(), "a request after the longest wait", 0)
		if n := slow.reads.Load(); n != 1 {
			t.Errorf("%d reads", n)
		}
		close(slow.up)
		synctest.Wait()

		slow.up = make(chan struct{})
		time.Sleep(staleAfter - 1)
		request(t.Context(), "a request less than 10 s after a read", 0)
		time.Sleep(maxWait / 4)
		request(t.Context(), "a request more than 10 s after a read", maxWait*3/4)
		time.Sleep(time.Minute)
		request(t.Context(), "a request long after the read began", 0)
		if n := slow.reads.Load(); n != 2 {
			t.Errorf("%d reads", n)
		}
		close(slow.up)
	})
}
