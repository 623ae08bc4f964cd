package server

import (
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

func TestUpstreamOnASocket(t *testing.T) {
	t.Parallel()
	for _, scheme := range []string{"unix", "h2c+unix"} {
		a, _ := startAgent(t, good)
		path := filepath.Join(t.TempDir(), "a b.sock")
		base := front(t, a, Options{Upstream: &url.URL{Scheme: scheme, Path: path}})
		if r := ask(t, "GET", base, "dapr-api-token: "+good); r.code != http.StatusBadGateway || strings.Contains(r.body, path) {
			t.Errorf("%s, before: %d %s", scheme, r.code, r.body)
		}
		l, err := (&net.ListenConfig{}).Listen(t.Context(), "unix", path)
		if err != nil {
			t.Fatal(err)
		}
		s := newHTTPServer(slog.New(slog.DiscardHandler), nil)
		s.Handler = echo()
		var serving sync.WaitGroup
		serving.Go(func() { _ = s.Serve(l) })
		t.Cleanup(func() { _ = s.Close(); serving.Wait() })
		got := ask(t, "GET", base+"/x?y", "dapr-api-token: "+good).seen(t)
		if want := map[string]string{"unix": "HTTP/1.1", "h2c+unix": "HTTP/2.0"}[scheme]; got.Proto != want || got.URI != "/x?y" || got.Host != strings.TrimPrefix(base, "http://") {
			t.Errorf("%s: %+v", scheme, got)
		}
		if r := ask(t, "GET", base); r.code != http.StatusUnauthorized {
			t.Errorf("%s, without a token: %d", scheme, r.code)
		}
	}
}

// TestForwardedForOfASocketsClient: the client has no address, so the X-Forwarded-For of a
// gateway in front stays.
func TestForwardedForOfASocketsClient(t *testing.T) {
	t.Parallel()
	a, _ := startAgent(t, good)
	o := Options{Upstream: app(t, echo()), Logger: slog.New(slog.DiscardHandler)}
	s := newMain(o, single(a, o))
	path := filepath.Join(t.TempDir(), "s")
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "unix", path)
	if err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	serving.Go(func() { _ = s.Serve(l) })
	t.Cleanup(func() { _ = s.Close(); serving.Wait() })
	tr := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", path)
	}}
	t.Cleanup(tr.CloseIdleConnections)
	for _, before := range []string{"", "203.0.113.7"} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://app.example/", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Dapr-Api-Token", good)
		r.Header.Set("Forwarded", "for=203.0.113.9")
		if before != "" {
			r.Header.Set("X-Forwarded-For", before)
		}
		res, err := tr.RoundTrip(r)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(res.Body)
		_ = res.Body.Close()
		got := reply{code: res.StatusCode, body: string(body)}.seen(t)
		for name, want := range map[string]string{"X-Forwarded-For": before, "Forwarded": "for=203.0.113.9", "X-Forwarded-Host": "app.example"} {
			if value := got.Header.Get(name); value != want {
				t.Errorf("after %q: %s is %q, want %q", before, name, value, want)
			}
		}
		if got.Host != "app.example" {
			t.Errorf("after %q: Host is %q", before, got.Host)
		}
	}
}
