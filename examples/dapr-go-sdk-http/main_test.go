package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tokenagent/tokenagent/agent"
	"github.com/tokenagent/tokenagent/pkg/verify/httpauth"
)

const (
	first  = "the-first-token-of-this-test"
	second = "the-second-token-of-this-test"
)

// put replaces the token file by a rename.
func put(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path+".new", []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
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

// call sends what daprd sends. The status is 0 where nobody answers.
func call(t *testing.T, method, url, token string) (status int, body string) {
	t.Helper()
	const event = `{"id":"1","specversion":"1.0","type":"order","source":"test","datacontenttype":"application/json","data":{},"topic":"orders","pubsubname":"pubsub"}`
	r, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(event))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/cloudevents+json")
	if token != "" {
		r.Header.Set("Dapr-Api-Token", token)
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return 0, err.Error()
	}
	defer resp.Body.Close()
	b, _ := io.ReadAll(resp.Body)
	return resp.StatusCode, string(b)
}

func freeAddr(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// TestRotation drives the app as daprd does, through a rotation and a revocation.
// A platform has put the first token into its environment as well.
func TestRotation(t *testing.T) {
	file := filepath.Join(t.TempDir(), "token")
	put(t, file, first)
	t.Setenv("APP_API_TOKEN_FILE", file)
	t.Setenv("APP_API_TOKEN", first)
	addr := freeAddr(t)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- run(ctx, addr) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	url := "http://" + addr
	until(t, "it is healthy, without a token", func() bool {
		status, _ := call(t, http.MethodGet, url+"/healthz", "")
		return status == http.StatusNoContent
	})
	want := func(token string, status int) {
		t.Helper()
		for _, to := range []struct{ method, path string }{
			{http.MethodGet, "/dapr/subscribe"}, {http.MethodGet, "/dapr/config"}, {http.MethodPost, "/orders"}, {http.MethodPost, "/hello"},
		} {
			if got, body := call(t, to.method, url+to.path, token); got != status {
				t.Errorf("%s %s: %d %q, want %d", to.method, to.path, got, body, status)
			}
		}
	}
	want("", http.StatusUnauthorized)
	want(second, http.StatusUnauthorized)
	want(first, http.StatusOK)

	put(t, file, second)
	until(t, "the new token is accepted", func() bool {
		status, _ := call(t, http.MethodPost, url+"/hello", second)
		return status == http.StatusOK
	})
	want(second, http.StatusOK)
	want(first, http.StatusOK) // daprd has not been restarted yet

	sum := sha256.Sum256([]byte(first))
	put(t, file, second+"\nrevoked "+hex.EncodeToString(sum[:])+"\n")
	until(t, "the old token is refused", func() bool {
		status, _ := call(t, http.MethodPost, url+"/hello", first)
		return status == http.StatusUnauthorized
	})
	want(first, http.StatusUnauthorized)
	want(second, http.StatusOK)
}

// TestWhatTheSDKDoesWithTheVariable shows why run unsets it: no setting of ours
// helps an SDK that compares with the token of its own start.
func TestWhatTheSDKDoesWithTheVariable(t *testing.T) {
	const refusedAsSuccess = http.StatusNonAuthoritativeInfo // 203, which daprd takes for success
	for name, c := range map[string]struct {
		variable      string
		keepHeader    bool
		before, after int
	}{
		"unset":                   {"", false, http.StatusOK, http.StatusOK},
		"set":                     {first, false, refusedAsSuccess, refusedAsSuccess},
		"set, the header is kept": {first, true, http.StatusOK, refusedAsSuccess},
	} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "token")
			put(t, file, first)
			t.Setenv("APP_API_TOKEN", c.variable)
			a, err := agent.Start(t.Context(), agent.Config{TokenFile: file, Logger: slog.New(slog.DiscardHandler)})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = a.Close() })
			addr := freeAddr(t)
			s, err := newService(addr, a, httpauth.Options{KeepHeader: c.keepHeader})
			if err != nil {
				t.Fatal(err)
			}
			go func() { _ = s.Start() }()
			t.Cleanup(func() { _ = s.Stop() })
			url := "http://" + addr
			until(t, "it listens", func() bool { status, _ := call(t, http.MethodGet, url+"/healthz", first); return status != 0 })
			if got, body := call(t, http.MethodPost, url+"/hello", first); got != c.before {
				t.Errorf("before the rotation: %d %q, want %d", got, body, c.before)
			}
			put(t, file, second)
			until(t, "the agent has the new token", func() bool { token, err := a.Token(); return err == nil && token == second })
			if got, body := call(t, http.MethodPost, url+"/hello", second); got != c.after {
				t.Errorf("after the rotation: %d %q, want %d", got, body, c.after)
			}
		})
	}
}
