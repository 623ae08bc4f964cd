package server

import (
	"bufio"
	"io"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/tokenagent/tokenagent/agent"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/listener"
)

// TestAdminPageFollowsTheAgent: the page shows changes of the agent, and no token.
func TestAdminPageFollowsTheAgent(t *testing.T) {
	a, path := startAgent(t, "")
	o := Options{Logger: slog.New(slog.DiscardHandler)}
	d := &daemon{Options: o, realms: single(a, o)}
	at := serve(t, d.adminServer(nil))
	says := func(what ...string) {
		t.Helper()
		var got reply
		until(t, "the page says "+strings.Join(what, ", "), func() bool {
			got = ask(t, "GET", at+"/")
			for _, w := range what {
				if !strings.Contains(got.body, w) {
					return false
				}
			}
			return got.code == http.StatusOK
		})
		if strings.Contains(got.body, "CANARY") {
			t.Fatal("the page shows a token")
		}
	}
	says("<h1>Not ready</h1>", path)
	write(t, path, good)
	says("<h1>Ready</h1>", fingerprint(a, 0))
	write(t, path, next+"\n"+bad+" next")
	says("<h1>Ready, rotating</h1>", fingerprint(a, 0), "Old token")
	write(t, path, good+" current-typo")
	says("<h1>Ready, with an error</h1>", "What was accepted before stays accepted")
	d.draining.Store(true)
	says("<h1>Draining</h1>")
	if got := ask(t, "GET", at+"/other"); got.code != http.StatusNotFound {
		t.Errorf("GET /other: %d", got.code)
	}
	if got := ask(t, "POST", at+"/"); got.code != http.StatusMethodNotAllowed {
		t.Errorf("POST /: %d", got.code)
	}
}

// fingerprint returns the fingerprint of the ith accepted token, or "" if there is none.
func fingerprint(a *agent.Agent, i int) string {
	if tokens := a.Status().Sources[0].Tokens; i < len(tokens) {
		return tokens[i].Fingerprint
	}
	return ""
}

// TestP5_AdminPortOnLoopbackAnswersOnlyForLoopback: a web page whose name resolves to
// this machine (DNS rebinding) reads nothing. A port that other machines may reach
// answers for every name, and so does a Unix socket, which no browser connects to.
func TestP5_AdminPortOnLoopbackAnswersOnlyForLoopback(t *testing.T) {
	t.Parallel()
	a, _ := startAgent(t, good)
	log := slog.New(slog.DiscardHandler)
	o := Options{Logger: log}
	d := &daemon{Options: o, realms: single(a, o)}
	ask := func(l net.Listener, host, path string) int {
		t.Helper()
		c := connect(t, l.Addr().Network(), l.Addr().String())
		defer c.Close()
		if _, err := io.WriteString(c, "GET "+path+" HTTP/1.1\r\nConnection: close\r\nHost: "+host+"\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		res, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		return res.StatusCode
	}
	loopback := []string{"localhost", "localhost:9464", "LocalHost.", "127.0.0.1", "127.0.0.1:1", "127.8.9.1:9464", "[::1]", "[::1]:9464", "[0:0:0:0:0:0:0:1]"}
	strange := []string{
		"evil.example", "evil.example:9464", "localhost.evil.example", "127.0.0.1.evil.example", "evil.example:127.0.0.1", "localhost:x", "localhost@evil.example",
		"128.0.0.1", "10.0.0.1:9464", "0.0.0.0", "[::]", "[::2]:9464", "::1", "[::1%25lo]", "127.1", "2130706433", "0x7f.0.0.1", "localhost,evil.example", "xlocalhost", "",
	}
	for _, at := range []string{"127.0.0.1:0", "[::1]:0", "localhost:0", "0.0.0.0:0", "unix://" + filepath.Join(t.TempDir(), "admin")} {
		l, err := listener.Open(t.Context(), at, listener.Socket{})
		if err != nil && strings.HasPrefix(at, "[::1]") {
			continue // a machine without IPv6
		}
		if err != nil {
			t.Fatal(err)
		}
		s := d.adminServer(nil)
		var serving sync.WaitGroup
		serving.Go(func() { _ = s.Serve(l) })
		t.Cleanup(func() { _ = s.Close(); serving.Wait() })
		guarded := !strings.HasPrefix(at, "0.0.0.0") && !strings.HasPrefix(at, "unix")
		for _, path := range []string{"/", "/status", "/metrics", "/livez", "/readyz", "/none"} {
			want := http.StatusOK
			if path == "/none" {
				want = http.StatusNotFound
			}
			for _, host := range loopback {
				if code := ask(l, host, path); code != want {
					t.Errorf("%s%s as %q: %d", at, path, host, code)
				}
			}
			if guarded {
				want = http.StatusMisdirectedRequest
			}
			for _, host := range strange {
				if code := ask(l, host, path); code != want && code != http.StatusBadRequest {
					t.Errorf("%s%s as %q: %d, want %d", at, path, host, code, want)
				}
			}
		}
	}
}
