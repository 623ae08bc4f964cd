package listener

import (
	"crypto/tls"
	"crypto/x509"
	"net"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/tokenagent/tokenagent/internal/testlog"
)

// Clients must present a certificate. Those of a CA that was removed are refused at the
// next handshake, also when a client tries to resume a session.
func TestClientCertificates(t *testing.T) {
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		t.Run(tls.VersionName(version), func(t *testing.T) {
			root, mine, theirs, dir := newAuthority(t), newAuthority(t), newAuthority(t), t.TempDir()
			f := Files{Cert: filepath.Join(dir, "c"), Key: filepath.Join(dir, "k"), ClientCA: filepath.Join(dir, "ca")}
			cert, key := root.issue(t, "server", soon())
			put(t, f.Cert, cert)
			put(t, f.Key, key)
			put(t, f.ClientCA, mine.pem())
			c, _ := openCerts(t, f)
			addr := echo(t, c)
			client := func(a *authority) *tls.Config {
				o := &tls.Config{RootCAs: root.pool(), MaxVersion: version, ClientSessionCache: tls.NewLRUClientSessionCache(8)}
				if a != nil {
					cert, key := a.issue(t, "client", soon())
					pair, err := tls.X509KeyPair(cert, key)
					if err != nil {
						t.Fatal(err)
					}
					o.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &pair, nil }
				}
				return o
			}
			first, second, none := client(mine), client(theirs), client(nil)
			try := func(o *tls.Config, want bool) *tls.Conn {
				t.Helper()
				conn, err := dial(t, addr, o)
				if (err == nil) != want {
					t.Fatalf("accepted: %v (%v), want %v", err == nil, err, want)
				}
				if conn != nil {
					t.Cleanup(func() { _ = conn.Close() })
					if conn.ConnectionState().DidResume {
						t.Error("a session with a client certificate was resumed")
					}
				}
				return conn
			}
			old := try(first, true)
			try(first, true)
			try(second, false)
			try(none, false)
			put(t, f.ClientCA, theirs.pem())
			if _, err := c.Reload(); err != nil {
				t.Fatal(err)
			}
			try(first, false)
			try(second, true)
			if err := ping(old); err != nil {
				t.Errorf("an old connection ended: %v", err)
			}
			put(t, f.ClientCA, []byte("garbage"))
			if _, err := c.Reload(); err == nil || c.Status().Good {
				t.Error("garbage was accepted as CA certificates")
			}
			try(first, false)
			try(second, true)
		})
	}
}

// A silent client does not delay others, and failed handshakes leave no goroutines.
func TestFailedHandshakesLeaveNothing(t *testing.T) {
	root, dir := newAuthority(t), t.TempDir()
	f := Files{Cert: filepath.Join(dir, "c"), Key: filepath.Join(dir, "k")}
	cert, key := root.issue(t, "server", soon())
	put(t, f.Cert, cert)
	put(t, f.Key, key)
	o := quick(&testlog.Log{})
	o.PollOnly = true // one of file system events starts goroutines later
	addr := echo(t, openWith(t, f, o))
	silent, err := new(net.Dialer).DialContext(t.Context(), "tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	good := &tls.Config{RootCAs: root.pool()}
	conn, err := dial(t, addr, good)
	if err != nil {
		t.Fatalf("a silent client is in the way: %v", err)
	}
	_ = conn.Close()
	before := runtime.NumGoroutine()
	for range 200 {
		if conn, err := dial(t, addr, &tls.Config{RootCAs: x509.NewCertPool()}); err == nil {
			_ = conn.Close()
			t.Fatal("a client without CAs accepted the certificate")
		}
	}
	until(t, "goroutines are as before", func() bool { return runtime.NumGoroutine() <= before })
}
