package server

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/listener"
	"github.com/tokenagent/tokenagent/internal/kubemount"
	"github.com/tokenagent/tokenagent/internal/testlog"
)

// healthOver asks for the grpc health at addr over a new connection, and returns the name
// in the server's certificate.
func healthOver(t *testing.T, addr string, o *tls.Config) (name string, err error) {
	t.Helper()
	o = o.Clone()
	o.ServerName = "agent.test"
	var seen atomic.Pointer[string]
	o.VerifyConnection = func(s tls.ConnectionState) error {
		seen.Store(&s.PeerCertificates[0].Subject.CommonName)
		return nil
	}
	conn, err := grpc.NewClient(addr, grpc.WithTransportCredentials(credentials.NewTLS(o)))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if _, err := healthpb.NewHealthClient(conn).Check(ctx, &healthpb.HealthCheckRequest{}); err != nil {
		return "", err
	}
	return *seen.Load(), nil
}

// A kubelet renews the certificate twenty times while clients keep making new
// connections, by HTTP and by grpc: no handshake fails, no two versions are mixed, and
// each version comes into use.
func TestRotationLosesNoHandshake(t *testing.T) {
	t.Parallel()
	a, _ := startAgent(t, good)
	made, mount := t.TempDir(), t.TempDir()
	swap := func(name string) {
		f, _ := selfSigned(t, made, name)
		payload := make(map[string][]byte)
		for key, path := range map[string]string{"tls.crt": f.Cert, "tls.key": f.Key} {
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			payload[key] = text
		}
		if err := kubemount.Write(mount, payload, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	swap("0")
	// Each certificate is its own root, so the test recognizes it by its name.
	client := &tls.Config{InsecureSkipVerify: true}
	f := listener.Files{Cert: filepath.Join(mount, "tls.crt"), Key: filepath.Join(mount, "tls.key")}
	grpcAddr := freeAddr(t)
	d := runDaemon(t, a, Options{GRPCListen: grpcAddr, TLS: f, Poll: -1})
	byHTTP := func() (string, error) {
		code, _, _, name, err := knock(t, d.main, client.Clone(), "dapr-api-token: "+good)
		if err == nil && code != http.StatusOK {
			err = fmt.Errorf("answered %d", code)
		}
		return name, err
	}
	byGRPC := func() (string, error) { return healthOver(t, grpcAddr, client) }
	ctx, stop := context.WithCancel(t.Context())
	var knocking sync.WaitGroup
	var count atomic.Int64
	for _, ask := range []func() (string, error){byHTTP, byGRPC} {
		knocking.Go(func() {
			for ctx.Err() == nil {
				if _, err := ask(); err != nil {
					t.Errorf("a handshake failed: %v", err)
					return
				}
				count.Add(1)
			}
		})
	}
	for i := 1; i <= 20; i++ {
		want := strconv.Itoa(i)
		swap(want)
		for what, ask := range map[string]func() (string, error){"HTTP": byHTTP, "grpc": byGRPC} {
			until(t, what+" sees certificate "+want, func() bool {
				name, err := ask()
				if err != nil {
					t.Fatalf("a handshake failed: %v", err)
				}
				return name == want
			})
		}
	}
	stop()
	knocking.Wait()
	t.Logf("%d handshakes beside", count.Load())
	if log := d.log.String(); strings.Contains(log, "source is bad") || strings.Contains(log, "TLS handshake error") {
		t.Errorf("not all went well:\n%s", log)
	}
}

// The content of a bad key file is not in the log, the status, the metrics or the page,
// nor in the error of a start.
func TestKeyIsShownNowhere(t *testing.T) {
	t.Parallel()
	a, _ := startAgent(t, good)
	f, pool := selfSigned(t, t.TempDir(), "all")
	key, err := os.ReadFile(f.Key)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(string(key)), "\n")
	d := runDaemon(t, a, Options{AdminTLS: f, Poll: 10 * time.Millisecond, Debounce: -1})
	mustHide := func(where, text string) {
		t.Helper()
		for _, secret := range append([]string{"CANARY", "Q0FOQVJZ", "PRIVATE KEY-"}, lines[1:len(lines)-1]...) {
			if strings.Contains(text, secret) {
				t.Errorf("%s shows what a key file holds", where)
			}
		}
	}
	for i, text := range []string{
		"CANARY",
		"-----BEGIN CANARY-----\nQ0FOQVJZ\n-----END CANARY-----\n",
		"-----BEGIN PRIVATE KEY-----\nQ0FOQVJZ\n-----END PRIVATE KEY-----\n",
		"-----BEGIN ENCRYPTED PRIVATE KEY-----\nQ0FOQVJZ\n-----END ENCRYPTED PRIVATE KEY-----\n",
		"-----BEGIN PRIVATE KEY CANARY-----\n" + strings.Join(lines[1:], "\n"),
		string(key[:len(key)/2]),
	} {
		write(t, f.Key, text)
		until(t, fmt.Sprint("error ", i, " shows"), func() bool {
			_, body, _, _, err := knock(t, d.admin+"/metrics", &tls.Config{RootCAs: pool})
			if err != nil {
				t.Fatal(err)
			}
			return strings.Contains(body, `tokenagent_tls_last_reload_successful{listener="admin-listen"} 0`)
		})
		for _, path := range []string{"/", "/status", "/metrics"} {
			_, body, _, _, err := knock(t, d.admin+path, &tls.Config{RootCAs: pool})
			if err != nil {
				t.Fatal(err)
			}
			mustHide(path, body)
			if path == "/status" && !strings.Contains(body, f.Key) {
				t.Errorf("the error does not name %s:\n%s", f.Key, body)
			}
		}
		o := Options{Listen: "127.0.0.1:0", TLS: f, Logger: slog.New(slog.NewTextHandler(d.log, nil))}
		if err := Run(t.Context(), single(a, o), o); err == nil || !strings.Contains(err.Error(), "--tls-") {
			t.Errorf("it starts with a bad key: %v", err)
		} else {
			mustHide("the error", err.Error())
		}
		write(t, f.Key, string(key))
		until(t, "the error is gone", func() bool {
			_, body, _, _, err := knock(t, d.admin+"/metrics", &tls.Config{RootCAs: pool})
			return err == nil && strings.Contains(body, `tokenagent_tls_last_reload_successful{listener="admin-listen"} 1`)
		})
	}
	mustHide("the log", d.log.String())
}

// If one pair is good and the next is bad, the start returns an error and leaves no
// goroutine of the first behind. It is not parallel: it counts those of the process.
func TestTLSErrorAtStartLeavesNothing(t *testing.T) {
	a, _ := startAgent(t, good)
	f, _ := selfSigned(t, t.TempDir(), "good")
	none := f
	none.Key += "-none"
	badCA := f
	badCA.ClientCA = f.Key
	untilWatched(t, a)
	already := goleak.IgnoreCurrent()
	for name, admin := range map[string]listener.Files{"no key": none, "a key for a root": badCA} {
		for _, o := range []Options{
			{Listen: "127.0.0.1:0", AdminListen: "127.0.0.1:0", TLS: f, AdminTLS: admin},
			{Listen: "127.0.0.1:0", AdminListen: "127.0.0.1:none", TLS: f, AdminTLS: f},
		} {
			o.Logger = slog.New(slog.DiscardHandler)
			if err := Run(t.Context(), single(a, o), o); err == nil || !strings.HasPrefix(err.Error(), "--admin-") {
				t.Errorf("%s: %v", name, err)
			}
			if _, _, err := ServeAdmin(t.Context(), a, o); err == nil {
				t.Errorf("%s: exec's port begins", name)
			}
			if err := goleak.Find(already); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
}

// Tokens of realms and certificates share one inotify instance, of which a user has
// few. It is not parallel: it counts what the whole process has.
func TestOneInotifyInstance(t *testing.T) {
	had := testlog.Inotify(t)
	f, _ := selfSigned(t, t.TempDir(), "all")
	other, _ := selfSigned(t, t.TempDir(), "admin")
	other.ClientCA = f.Cert
	o := Options{Listen: freeAddr(t), AdminListen: freeAddr(t), TLS: f, AdminTLS: other, Logger: slog.New(slog.DiscardHandler)}
	set := openRealms(t, o)
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	log := &testlog.Log{}
	o.Logger = slog.New(slog.NewTextHandler(log, nil))
	go func() { ended <- Run(ctx, set, o) }()
	until(t, "certificates are watched", func() bool { return strings.Count(log.String(), "watching the source") >= 2 })
	if n := testlog.Inotify(t) - had; n != 1 {
		t.Errorf("%d inotify instances, want one", n)
	}
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
