package listener

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tokenagent/tokenagent/internal/kubemount"
	"github.com/tokenagent/tokenagent/internal/testlog"
	"github.com/tokenagent/tokenagent/pkg/reload"
)

// quick polls often and has no debounce time.
func quick(log io.Writer) reload.Options {
	return reload.Options{Poll: 20 * time.Millisecond, Debounce: -1, Logger: slog.New(slog.NewTextHandler(log, nil))}
}

func openCerts(t *testing.T, f Files) (*Certificates, *testlog.Log) {
	t.Helper()
	log := &testlog.Log{}
	return openWith(t, f, quick(log)), log
}

func openWith(t *testing.T, f Files, o reload.Options) *Certificates {
	t.Helper()
	c, err := OpenCertificates(t.Context(), "listen", f, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// echo starts a TLS server that sends back its input, until the test ends.
func echo(t *testing.T, c *Certificates) (addr string) {
	t.Helper()
	l, err := Open(t.Context(), "127.0.0.1:0", Socket{})
	if err != nil {
		t.Fatal(err)
	}
	l = tls.NewListener(l, c.Config("h2", "http/1.1"))
	var serving sync.WaitGroup
	var mu sync.Mutex
	var open []net.Conn
	serving.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			open = append(open, conn)
			mu.Unlock()
			serving.Go(func() {
				defer conn.Close()
				_, _ = io.Copy(conn, conn)
			})
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		mu.Lock()
		for _, conn := range open {
			_ = conn.Close()
		}
		mu.Unlock()
		serving.Wait()
	})
	return l.Addr().String()
}

// dial connects, and checks by an echo that the server has accepted the client.
func dial(t *testing.T, addr string, o *tls.Config) (*tls.Conn, error) {
	t.Helper()
	o = o.Clone()
	o.ServerName = "agent.test"
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	conn, err := (&tls.Dialer{Config: o}).DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	c := conn.(*tls.Conn)
	if err := ping(c); err != nil {
		_ = c.Close()
		return nil, err
	}
	return c, nil
}

func ping(c *tls.Conn) error {
	if _, err := c.Write([]byte("ping")); err != nil {
		return err
	}
	got := make([]byte, 4)
	_ = c.SetReadDeadline(time.Now().Add(20 * time.Second))
	if _, err := io.ReadFull(c, got); err != nil {
		return err
	}
	if string(got) != "ping" {
		return errors.New("no echo")
	}
	return nil
}

func seen(c *tls.Conn) string { return c.ConnectionState().PeerCertificates[0].Subject.CommonName }

// A kubelet replaces the pair twenty times: no handshake fails, new handshakes get the
// new certificate in the end, and an open connection keeps working.
func TestRotationUnderConnections(t *testing.T) {
	root, dir := newAuthority(t), t.TempDir()
	swap := func(name string) {
		cert, key := root.issue(t, name, soon())
		if err := kubemount.Write(dir, map[string][]byte{"tls.crt": cert, "tls.key": key, "ca.crt": root.pem()}, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	swap("first")
	c, log := openCerts(t, Files{Cert: filepath.Join(dir, "tls.crt"), Key: filepath.Join(dir, "tls.key")})
	addr := echo(t, c)
	client := &tls.Config{RootCAs: root.pool(), NextProtos: []string{"h2"}}
	old, err := dial(t, addr, client)
	if err != nil {
		t.Fatal(err)
	}
	defer old.Close()
	if p := old.ConnectionState().NegotiatedProtocol; p != "h2" {
		t.Errorf("ALPN chose %q", p)
	}
	ctx, stop := context.WithCancel(t.Context())
	var knocking sync.WaitGroup
	for range 2 {
		knocking.Go(func() {
			for ctx.Err() == nil {
				conn, err := dial(t, addr, client)
				if err != nil {
					t.Errorf("a handshake failed: %v", err)
					return
				}
				_ = conn.Close()
			}
		})
	}
	for i := range 20 {
		name := "number " + string(rune('a'+i))
		swap(name)
		until(t, "handshakes see "+name, func() bool {
			conn, err := dial(t, addr, client)
			if err != nil {
				t.Fatalf("a handshake failed: %v", err)
			}
			defer conn.Close()
			return seen(conn) == name
		})
	}
	stop()
	knocking.Wait()
	if err := ping(old); err != nil || seen(old) != "first" {
		t.Errorf("an old connection ended: %v", err)
	}
	if s := log.String(); strings.Contains(s, "source is bad") {
		t.Errorf("two versions were mixed: %s", s)
	}
}

// Two files that are renamed one after the other match only when both are there. Until
// then, and while a file holds garbage, the old pair stays in use. The error ends without
// a restart.
func TestBadPairChangesNothing(t *testing.T) {
	for _, where := range []string{"one directory", "two directories"} {
		t.Run(where, func(t *testing.T) {
			root, dir := newAuthority(t), t.TempDir()
			f := Files{Cert: filepath.Join(dir, "tls.crt"), Key: filepath.Join(dir, "tls.key")}
			if where == "two directories" {
				f.Key = filepath.Join(t.TempDir(), "tls.key")
			}
			cert, key := root.issue(t, "first", soon())
			put(t, f.Cert, cert)
			put(t, f.Key, key)
			c, log := openCerts(t, f)
			addr := echo(t, c)
			client := &tls.Config{RootCAs: root.pool()}
			sees := func(name string) {
				t.Helper()
				conn, err := dial(t, addr, client)
				if err != nil {
					t.Fatal(err)
				}
				defer conn.Close()
				if seen(conn) != name {
					t.Fatalf("sees %s, want %s", seen(conn), name)
				}
			}
			cert, key = root.issue(t, "second", soon())
			put(t, f.Cert, cert)
			until(t, "the error shows", func() bool { return strings.Contains(c.Status().Error, "is not the key of") })
			sees("first")
			secret := bytes.Split(key, []byte("\n"))[1]
			broken := bytes.Replace(key, secret, []byte("CANARY"), 1)
			for _, bad := range [][]byte{broken, []byte("-----BEGIN CANARY-----\nQ0FOQVJZ\n-----END CANARY-----\n"), []byte("CANARY")} {
				put(t, f.Key, bad)
				if _, err := c.Reload(); err == nil {
					t.Error("garbage was accepted")
				}
				sees("first")
			}
			polls := c.config.Stats().Rejected + 20
			until(t, "twenty polls", func() bool { return c.config.Stats().Rejected >= polls })
			if n := strings.Count(log.String(), "holds no private key"); n > 2 {
				t.Errorf("one error is logged %d times", n)
			}
			put(t, f.Key, key)
			until(t, "the new pair is in use", func() bool { return c.Status().Good })
			sees("second")
			for _, out := range []string{log.String(), c.Status().Error} {
				if strings.Contains(out, "CANARY") || strings.Contains(out, string(secret)) {
					t.Error("what a key file holds is shown")
				}
			}
		})
	}
}

func TestBadPairAtStart(t *testing.T) {
	root, dir := newAuthority(t), t.TempDir()
	cert, key := root.issue(t, "one", soon())
	other, _ := root.issue(t, "other", soon())
	f := Files{Cert: filepath.Join(dir, "c"), Key: filepath.Join(dir, "k"), ClientCA: filepath.Join(dir, "ca")}
	for _, c := range []struct {
		cert, key, ca []byte
		says          string
	}{
		{other, key, root.pem(), "is not the key of"},
		{key, key, root.pem(), "holds no certificate"},
		{cert, cert, root.pem(), "holds no private key"},
		{cert, []byte("-----BEGIN ENCRYPTED PRIVATE KEY-----\nQ0FOQVJZ\n-----END ENCRYPTED PRIVATE KEY-----\n"), root.pem(), "passphrase"},
		{cert, []byte("-----BEGIN PRIVATE KEY-----\nQ0FOQVJZ\n-----END PRIVATE KEY-----\n"), root.pem(), "cannot be read"},
		{cert, key, []byte("CANARY"), "holds no certificate"},
		{cert, key, append(root.pem(), key...), "something other than certificates"},
	} {
		put(t, f.Cert, c.cert)
		put(t, f.Key, c.key)
		put(t, f.ClientCA, c.ca)
		got, err := OpenCertificates(t.Context(), "listen", f, quick(io.Discard))
		if err == nil {
			got.Close()
			t.Errorf("it is taken; want %q", c.says)
		} else if !strings.Contains(err.Error(), c.says) || strings.Contains(err.Error(), "CANARY") {
			t.Errorf("%v; want %q", err, c.says)
		}
	}
	if err := os.Remove(f.Key); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenCertificates(t.Context(), "listen", f, quick(io.Discard)); err == nil || !strings.Contains(err.Error(), f.Key) {
		t.Errorf("a missing key: %v", err)
	}
}

// An expired certificate is served, with a warning.
func TestExpiredIsServedWithAWarning(t *testing.T) {
	root, dir := newAuthority(t), t.TempDir()
	both := filepath.Join(dir, "both.pem")
	cert, key := root.issue(t, "old", time.Now().Add(-time.Minute))
	put(t, both, append(cert, key...))
	_, log := openCerts(t, Files{Cert: both, Key: both})
	if !strings.Contains(log.String(), "level=WARN") || !strings.Contains(log.String(), "EXPIRED") {
		t.Errorf("no warning: %s", log.String())
	}
}

func TestFilesValidate(t *testing.T) {
	for _, f := range []Files{{}, {Cert: "c", Key: "k"}, {Cert: "c", Key: "k", ClientCA: "a"}} {
		if err := f.Validate("admin-"); err != nil {
			t.Errorf("%+v: %v", f, err)
		}
	}
	for _, f := range []Files{{Cert: "c"}, {Key: "k"}, {ClientCA: "a"}, {Cert: "c", ClientCA: "a"}} {
		if err := f.Validate("admin-"); err == nil || !strings.HasPrefix(err.Error(), "--admin-tls-cert-file and --admin-tls-key-file go together") {
			t.Errorf("%+v: %v", f, err)
		}
	}
}
