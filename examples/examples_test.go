// Package examples runs the example programs as their readers would.
package examples

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	testpb "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

const (
	first  = "the-first-token-of-this-test"
	second = "the-second-token-of-this-test"
)

// A program is an example that runs.
type program struct {
	addr, tokenFile string
}

// run is launch for an example that serves, and waits until it does.
func run(t *testing.T, dir string) program {
	t.Helper()
	p := launch(t, dir, "ADDR="+freeAddr(t))
	until(t, "it listens", func() bool {
		c, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", p.addr)
		if err == nil {
			_ = c.Close()
		}
		return err == nil
	})
	return p
}

// launch builds the example in dir and runs it until the test ends, when it
// must end by itself on SIGTERM. variable is one that it reads.
func launch(t *testing.T, dir, variable string) program {
	t.Helper()
	if runtime.GOOS == "windows" {
		t.Skip("no SIGTERM")
	}
	bin := filepath.Join(t.TempDir(), "example")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", bin, ".")
	build.Dir = dir
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	p := program{addr: strings.TrimPrefix(variable, "ADDR="), tokenFile: filepath.Join(t.TempDir(), "token")}
	p.put(t, first)
	ctx, cancel := context.WithCancel(context.Background())
	var out bytes.Buffer
	cmd := exec.CommandContext(ctx, bin)
	cmd.Env = []string{variable, "APP_API_TOKEN_FILE=" + p.tokenFile}
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		defer cancel()
		late := time.AfterFunc(20*time.Second, cancel)
		defer late.Stop()
		_ = cmd.Process.Signal(syscall.SIGTERM)
		if err := cmd.Wait(); err != nil {
			t.Errorf("after SIGTERM: %v\n%s", err, out.String())
		}
		if strings.Contains(out.String(), first) || strings.Contains(out.String(), second) {
			t.Error("the output shows a token")
		}
	})
	return p
}

func (p program) put(t *testing.T, token string) {
	t.Helper()
	if err := os.WriteFile(p.tokenFile+".new", []byte(token), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(p.tokenFile+".new", p.tokenFile); err != nil {
		t.Fatal(err)
	}
}

func freeAddr(t *testing.T) string {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func until(t *testing.T, what string, cond func() bool) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	limit := time.After(20 * time.Second)
	for !cond() {
		select {
		case <-tick.C:
		case <-limit:
			t.Fatalf("not within 20 s: %s", what)
		}
	}
}

func ask(t *testing.T, method, url, token string) (code int, body string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader("{}"))
	if err != nil {
		t.Fatal(err)
	}
	if token != "" {
		r.Header.Set("Dapr-Api-Token", token)
	}
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(b)
}

func TestHTTP(t *testing.T) {
	t.Parallel()
	p := run(t, "http")
	url := "http://" + p.addr
	if code, _ := ask(t, http.MethodGet, url+"/hello", ""); code != http.StatusUnauthorized {
		t.Errorf("without a token: %d", code)
	}
	if code, body := ask(t, http.MethodGet, url+"/hello", first); code != http.StatusOK || body != "hello, holder of the current token\n" {
		t.Errorf("with the token: %d %q", code, body)
	}
	p.put(t, second)
	until(t, "the new token is accepted", func() bool { code, _ := ask(t, http.MethodGet, url+"/hello", second); return code == http.StatusOK })
	if code, body := ask(t, http.MethodGet, url+"/hello", first); code != http.StatusOK || body != "hello, holder of the previous token\n" {
		t.Errorf("with the old token: %d %q", code, body)
	}
	if code, body := ask(t, http.MethodGet, url+"/metrics", ""); code != http.StatusOK || !strings.Contains(body, `tokenagent_rotations_total{source="token"} 1`) {
		t.Errorf("metrics: %d\n%s", code, body)
	}
}

func TestDaprHTTP(t *testing.T) {
	t.Parallel()
	p := run(t, "dapr-http")
	url := "http://" + p.addr
	for _, c := range []struct {
		method, path, token string
		code                int
	}{
		{http.MethodGet, "/healthz", "", http.StatusOK},
		{http.MethodGet, "/dapr/subscribe", "", http.StatusUnauthorized},
		{http.MethodGet, "/dapr/subscribe", first, http.StatusOK},
		{http.MethodPost, "/orders", "", http.StatusUnauthorized},
		{http.MethodPost, "/orders", first, http.StatusOK},
	} {
		if code, _ := ask(t, c.method, url+c.path, c.token); code != c.code {
			t.Errorf("%s %s: %d, want %d", c.method, c.path, code, c.code)
		}
	}
	p.put(t, second)
	until(t, "the new token is accepted", func() bool { code, _ := ask(t, http.MethodPost, url+"/orders", second); return code == http.StatusOK })
}

func TestSender(t *testing.T) {
	t.Parallel()
	var last atomic.Value
	s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { last.Store(r.Header.Get("Dapr-Api-Token")) }))
	t.Cleanup(s.Close)
	p := launch(t, "sender", "URL="+s.URL)
	until(t, "it sends the token", func() bool { return last.Load() == first })
	p.put(t, second)
	until(t, "it sends the new token", func() bool { return last.Load() == second })
}

func dial(t *testing.T, addr string) *grpc.ClientConn {
	t.Helper()
	conn, err := grpc.NewClient(addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

func with(ctx context.Context, token string) context.Context {
	return metadata.AppendToOutgoingContext(ctx, "dapr-api-token", token)
}

func TestGRPC(t *testing.T) {
	t.Parallel()
	p := run(t, "grpc")
	c := testpb.NewTestServiceClient(dial(t, p.addr))
	if _, err := c.UnaryCall(t.Context(), &testpb.SimpleRequest{}); status.Code(err) != codes.Unauthenticated {
		t.Errorf("without a token: %v", err)
	}
	if r, err := c.UnaryCall(with(t.Context(), first), &testpb.SimpleRequest{}); err != nil || r.GetUsername() != "current" {
		t.Errorf("with the token: %v", err)
	}
	p.put(t, second)
	until(t, "the new token is accepted", func() bool {
		_, err := c.UnaryCall(with(t.Context(), second), &testpb.SimpleRequest{})
		return err == nil
	})
}
