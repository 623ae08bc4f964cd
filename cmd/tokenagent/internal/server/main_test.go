package server

import (
	"cmp"
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/tokenagent/tokenagent/agent"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/realm"
	"github.com/tokenagent/tokenagent/internal/testlog"
)

func TestMain(m *testing.M) {
	// net/http closes a connection half a second after an answer that came before the
	// end of the body.
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("net/http.(*conn).closeWriteAndWait"))
}

const (
	good = "CANARY-3c9d71-good"
	next = "CANARY-3c9d71-next"
	bad  = "CANARY-3c9d71-bad"
)

func startAgent(t *testing.T, text string) (a *agent.Agent, path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "token")
	if text != "" {
		write(t, path, text)
	}
	a, err := agent.Start(t.Context(), agent.Config{
		TokenFile: path, WaitForSource: text == "", Poll: 20 * time.Millisecond, Debounce: -1, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = a.Close() })
	return a, path
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path+".tmp", []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".tmp", path); err != nil {
		t.Fatal(err)
	}
}

// serve runs s on loopback until the test ends, and returns its URL.
func serve(t *testing.T, s server) string {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	serving.Go(func() { _ = s.Serve(l) })
	t.Cleanup(func() { _ = s.Close(); serving.Wait() })
	return "http://" + l.Addr().String()
}

// app serves h as an app that speaks HTTP/1.1 and h2c.
func app(t *testing.T, h http.Handler) *url.URL {
	t.Helper()
	s := newHTTPServer(slog.New(slog.DiscardHandler), nil)
	s.Handler = h
	u, err := url.Parse(serve(t, s))
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// front starts the server of --listen. headers may hold the token.
func front(t *testing.T, a *agent.Agent, o Options, headers ...string) string {
	t.Helper()
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if err := o.Validate(); err != nil {
		t.Fatal(err)
	}
	return serve(t, newMain(o, single(a, o, headers...)))
}

// newMain returns the server of --listen.
func newMain(o Options, realms *realm.Set) *httpServer {
	d := &daemon{Options: o, realms: realms}
	return d.mainServer(nil)
}

type reply struct {
	code int
	http.Header
	body string
}

// ask sends one request with headers as "Name: value" lines.
func ask(t *testing.T, method, target string, headers ...string) reply {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, target, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		r.Header[name] = append(r.Header[name], value) // as it stands, not canonical
	}
	res, err := client(t).Do(r)
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(res.Body)
	_ = res.Body.Close()
	if err != nil {
		t.Fatal(err)
	}
	return reply{res.StatusCode, res.Header, string(body)}
}

func client(t *testing.T) *http.Client {
	t.Helper()
	tr := &http.Transport{}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

func until(t *testing.T, what string, cond func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !cond() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("not within 20 s: %s", what)
		}
	}
}

type daemonUnderTest struct {
	main, admin string
	stop        context.CancelFunc
	ended       chan error
	log         *testlog.Log
}

// runDaemon runs Run on free ports. headers may hold the token.
func runDaemon(t *testing.T, a *agent.Agent, o Options, headers ...string) *daemonUnderTest {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	d := &daemonUnderTest{stop: stop, ended: make(chan error, 1), log: &testlog.Log{}}
	o.Listen, o.AdminListen = freeAddr(t), freeAddr(t)
	d.main, d.admin = "http://"+o.Listen, "http://"+o.AdminListen
	o.Logger = slog.New(slog.NewTextHandler(d.log, nil))
	o.DrainTimeout = cmp.Or(o.DrainTimeout, 10*time.Second)
	ended := make(chan struct{})
	go func() { d.ended <- Run(ctx, single(a, o, headers...), o); close(ended) }()
	t.Cleanup(func() { stop(); <-ended })
	listeners := 2
	if o.GRPCListen != "" {
		listeners++
	}
	until(t, "it listens", func() bool { return strings.Count(d.log.String(), "listening") == listeners })
	return d
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

// single returns the realms of a process in which a decides about every request.
func single(a *agent.Agent, o Options, headers ...string) *realm.Set {
	return realm.Single(a, realm.Spec{Headers: headers}, realm.Options{Auth: o.Auth(), Logger: o.Logger})
}
