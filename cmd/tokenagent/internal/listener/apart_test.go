package listener

import (
	"crypto/x509"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/tokenagent/tokenagent/internal/kubemount"
	"github.com/tokenagent/tokenagent/internal/testlog"
	"github.com/tokenagent/tokenagent/pkg/reload"
)

// byEvents never polls, and has a short debounce time.
func byEvents(log *testlog.Log) reload.Options {
	o := quick(log)
	o.Poll, o.Debounce = -1, 200*time.Millisecond
	return o
}

func watched(t *testing.T, c *Certificates) {
	t.Helper()
	until(t, "it is watched", func() bool { return c.config.Stats().Mode == "events" })
}

func leaf(c *Certificates) *x509.Certificate { return c.config.Load().Certificates[0].Leaf }

func isNamed(c *Certificates, name string) bool {
	return leaf(c).Subject.CommonName == name
}

// TestTwoFoldersByEvents: file system events alone report changes of a certificate and a
// key in two folders. Between the two swaps they do not match, so nothing changes.
func TestTwoFoldersByEvents(t *testing.T) {
	root, certs, keys := newAuthority(t), t.TempDir(), t.TempDir()
	swap := func(name string) (cert, key func()) {
		c, k := root.issue(t, name, soon())
		mount := func(dir, file string, text []byte) func() {
			return func() {
				t.Helper()
				if err := kubemount.Write(dir, map[string][]byte{file: text}, 0o600); err != nil {
					t.Fatal(err)
				}
			}
		}
		return mount(certs, "tls.crt", c), mount(keys, "tls.key", k)
	}
	cert, key := swap("first")
	cert()
	key()
	log := &testlog.Log{}
	c := openWith(t, Files{Cert: filepath.Join(certs, "tls.crt"), Key: filepath.Join(keys, "tls.key")}, byEvents(log))
	watched(t, c)
	was := "first"
	for _, name := range []string{"second", "third", "fourth"} {
		first, second := swap(name)
		if name == "third" {
			first, second = second, first
		}
		first()
		until(t, "the error shows", func() bool { return !c.Status().Good })
		if !isNamed(c, was) {
			t.Fatalf("no longer %s, while the files do not match", was)
		}
		second()
		until(t, name+" is in use", func() bool { return isNamed(c, name) && c.Status().Good })
		was = name
	}
}

// TestTwoFoldersNeverTorn: a certificate that is written in place is not used before it has
// been stable for the debounce time, even if its first part alone is valid.
func TestTwoFoldersNeverTorn(t *testing.T) {
	root := newAuthority(t)
	f := Files{Cert: filepath.Join(t.TempDir(), "tls.crt"), Key: filepath.Join(t.TempDir(), "tls.key")}
	cert, key := root.issue(t, "first", soon())
	put(t, f.Cert, cert)
	put(t, f.Key, key)
	log := &testlog.Log{}
	o := byEvents(log)
	o.Debounce = 2 * time.Second // longer than this test is held up between two writes
	c := openWith(t, f, o)
	watched(t, c)
	cert, key = root.issue(t, "second", soon())
	long := append(append([]byte(nil), cert...), root.pem()...)
	out, err := os.OpenFile(f.Cert, os.O_WRONLY|os.O_TRUNC, 0)
	if err != nil {
		t.Fatal(err)
	}
	put(t, f.Key, key)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for len(long) > 0 {
		n := min(len(long), len(cert)/3)
		if _, err := out.Write(long[:n]); err != nil {
			t.Fatal(err)
		}
		long = long[n:]
		if leaf(c).Subject.CommonName != "first" {
			t.Fatal("half of a file was used")
		}
		<-tick.C
	}
	_ = out.Close()
	until(t, "the new chain is in use", func() bool { return isNamed(c, "second") })
	if n := len(c.config.Load().Certificates[0].Certificate); n != 2 {
		t.Errorf("%d certificates in use, want both", n)
	}
	if n := c.config.Stats().Applied; n != 2 {
		t.Errorf("%d changes, want the one of the start and one more", n)
	}
}

// TestOneFolderNeverMixes reads continuously while a kubelet swaps the folder. No read
// returns the certificate of one version and the key of another.
func TestOneFolderNeverMixes(t *testing.T) {
	root, dir := newAuthority(t), t.TempDir()
	var versions []map[string][]byte
	for _, name := range []string{"even", "odd"} {
		cert, key := root.issue(t, name, soon())
		versions = append(versions, map[string][]byte{"tls.crt": cert, "tls.key": key})
	}
	write := func(i int) error { return kubemount.Write(dir, versions[i%2], 0o600) }
	if err := write(0); err != nil {
		t.Fatal(err)
	}
	src, parse := Files{Cert: filepath.Join(dir, "tls.crt"), Key: filepath.Join(dir, "tls.key")}.source()
	done := make(chan error, 1)
	go func() {
		for i := range 800 {
			if err := write(i); err != nil {
				done <- err
				return
			}
		}
		done <- nil
	}()
	for {
		select {
		case err := <-done:
			if err != nil {
				t.Error(err)
			}
			return
		default:
		}
		c, err := src.Read(t.Context(), 1<<20)
		if err != nil {
			continue // it changes faster than it can be read
		}
		if _, err := parse(c); err != nil {
			t.Fatal(errors.Join(err, <-done))
		}
	}
}
