package jwks

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tokenagent/tokenagent/pkg/reload"
)

// server serves over TLS, with a CA of its own.
func server(t *testing.T, h http.HandlerFunc) *httptest.Server {
	t.Helper()
	s := httptest.NewUnstartedServer(h)
	s.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	s.StartTLS()
	t.Cleanup(s.Close)
	return s
}

// get reads once. query stands behind the URL, and must not be seen.
func get(t *testing.T, srv *httptest.Server, o RemoteOptions, limit int64) (string, error) {
	t.Helper()
	if o.Client == nil {
		o.Client = srv.Client()
		t.Cleanup(o.Client.CloseIdleConnections)
	}
	s, err := Remote(srv.URL+"/keys?token=CANARY", o)
	check(t, err)
	if strings.Contains(fmt.Sprint(s), "CANARY") {
		t.Errorf("%v", s)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	c, err := s.Read(ctx, limit)
	if err != nil && (strings.Contains(err.Error(), "CANARY") || !strings.HasPrefix(err.Error(), srv.URL+"/keys: ")) {
		t.Errorf("the error shows what it must not, or not where: %v", err)
	}
	return string(c.Data), err
}

func TestRemoteOverTLS(t *testing.T) {
	t.Parallel()
	keys := string(set(newEC(t).jwk("kid", "a")))
	var seen http.Header
	srv := server(t, func(w http.ResponseWriter, r *http.Request) {
		seen = r.Header
		if r.URL.RawQuery != "token=CANARY" {
			w.WriteHeader(http.StatusNotFound)
		}
		http.SetCookie(w, &http.Cookie{Name: "CANARY", Value: "CANARY"})
		_, _ = io.WriteString(w, keys)
	})
	jar, err := cookiejar.New(nil)
	check(t, err)
	client := srv.Client()
	client.Jar = jar
	s, err := Remote(srv.URL+"/keys?token=CANARY", RemoteOptions{Client: client})
	check(t, err)
	t.Cleanup(client.CloseIdleConnections)
	for range 2 {
		s.Refresh()
		c, err := s.Read(t.Context(), maxBytes)
		if err != nil || string(c.Data) != keys || c.Path != srv.URL+"/keys" {
			t.Fatalf("%v, %v", c, err)
		}
		if seen.Get("Cookie") != "" || seen.Get("Authorization") != "" || !strings.Contains(seen.Get("Accept"), "application/jwk-set+json") {
			t.Errorf("sent %v", seen)
		}
	}
	// Without its CA it is not trusted.
	if _, err := get(t, srv, RemoteOptions{Client: &http.Client{}}, maxBytes); err == nil || !strings.Contains(err.Error(), "the server's certificate is not trusted") {
		t.Error(err)
	}
}

func TestRemoteOwnClient(t *testing.T) {
	t.Parallel()
	keys := string(set(newEC(t).jwk("kid", "a")))
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, keys) }))
	t.Cleanup(srv.Close)
	s, err := Remote(srv.URL, RemoteOptions{}) // http, to loopback
	check(t, err)
	c, err := s.Read(t.Context(), maxBytes)
	if err != nil || string(c.Data) != keys {
		t.Errorf("%v, %v", c, err)
	}
	srv.Close()
	s.Refresh()
	if _, err = s.Read(t.Context(), maxBytes); err == nil || !strings.Contains(err.Error(), "the connection is refused") {
		t.Error(err)
	}
}

func TestRemoteAddress(t *testing.T) {
	t.Parallel()
	for _, good := range []string{
		"https://idp.example/keys", "https://idp.example:8443", "https://192.0.2.1/?q#CANARY",
		"http://localhost/keys", "http://127.0.0.1:80/", "http://127.8.9.1/", "http://[::1]:80/",
	} {
		s, err := Remote(good, RemoteOptions{})
		if err != nil || strings.ContainsAny(s.String(), "?#") {
			t.Errorf("%s: %v, %v", good, s, err)
		}
	}
	for bad, want := range map[string]string{
		"":                                  "the URL has no host",
		"idp.example/CANARY":                "the URL has no host",
		"https:///CANARY":                   "the URL has no host",
		"https://:443/CANARY":               "the URL has no host",
		"https:CANARY":                      "the URL has no host",
		"https://idp.example/%zzCANARY":     "the URL has no host",
		"https://user:CANARY@idp.example/":  "the URL holds a user name",
		"https://CANARY@idp.example/":       "the URL holds a user name",
		"http://idp.example/CANARY":         "the URL is not https",
		"http://127.0.0.1.idp.example/":     "the URL is not https",
		"http://localhost.example/":         "the URL is not https",
		"http://10.0.0.1/":                  "the URL is not https",
		"ftp://localhost/":                  "the URL is not https",
		"file://localhost/etc/passwdCANARY": "the URL is not https",
	} {
		if _, err := Remote(bad, RemoteOptions{}); err == nil || !strings.HasPrefix(err.Error(), "Issuer.JWKSURL: "+want) || strings.Contains(err.Error(), "CANARY") {
			t.Errorf("%s: %v", bad, err)
		}
	}
	for _, o := range []RemoteOptions{
		{MaxStale: -1},
		{MaxStale: 2*time.Minute - 1},
	} {
		if _, err := Remote("https://idp.example/", o); err == nil {
			t.Errorf("%+v is taken", o)
		}
	}
}

func TestRemoteRedirects(t *testing.T) {
	t.Parallel()
	keys := string(set(newEC(t).jwk("kid", "a")))
	plain := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, keys) }))
	t.Cleanup(plain.Close)
	for name, c := range map[string]struct {
		hops int // to the last, which is served or leads to: "" for the keys
		to   string
		want string
	}{
		"three":        {3, "", ""},
		"four":         {4, "", "more than three redirects"},
		"plain":        {0, plain.URL, "a redirect away from https"},
		"plain, later": {2, plain.URL, "a redirect away from https"},
		"userinfo":     {0, "https://CANARY:CANARY@127.0.0.1/", "a redirect away from https"},
		"file":         {0, "file:///etc/passwd", "a redirect away from https"},
		"malformed":    {0, "https://127.0.0.1/%zzCANARY", "no answer in HTTP"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			srv := server(t, func(w http.ResponseWriter, r *http.Request) {
				var n int
				_, _ = fmt.Sscanf(r.URL.Path, "/%d", &n)
				switch {
				case r.Header.Get("Referer") != "":
					t.Errorf("sent the address before it: %s", r.Header.Get("Referer"))
				case n < c.hops:
					w.Header().Set("Location", fmt.Sprintf("/%d?token=CANARY", n+1))
					w.WriteHeader(http.StatusFound)
				case c.to != "":
					w.Header().Set("Location", c.to)
					w.WriteHeader(http.StatusMovedPermanently)
				default:
					_, _ = io.WriteString(w, keys)
				}
			})
			got, err := get(t, srv, RemoteOptions{}, maxBytes)
			if c.want == "" && (err != nil || got != keys) || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("%s, %v", got, err)
			}
		})
	}
}

// TestRemoteBadServers: each bad answer is an error in our own words, within the timeout.
func TestRemoteBadServers(t *testing.T) {
	t.Parallel()
	keys := string(set(newEC(t).jwk("kid", "a")))
	stop := make(chan struct{}) // a server waits for its handlers to end
	var once sync.Once
	hang := func(r *http.Request) {
		select {
		case <-r.Context().Done():
		case <-stop:
		}
	}
	t.Cleanup(func() { once.Do(func() { close(stop) }) })
	for name, c := range map[string]struct {
		handler http.HandlerFunc
		timeout time.Duration
		want    string
	}{
		"no answer": {func(_ http.ResponseWriter, r *http.Request) { hang(r) }, 50 * time.Millisecond, "no complete answer within 50ms"},
		"half an answer": {func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.WriteString(w, keys[:10])
			w.(http.Flusher).Flush()
			hang(r)
		}, 50 * time.Millisecond, "no complete answer within 50ms"},
		"a byte at a time": {func(w http.ResponseWriter, r *http.Request) {
			for r.Context().Err() == nil {
				_, _ = io.WriteString(w, " ")
				w.(http.Flusher).Flush()
				select {
				case <-r.Context().Done():
				case <-time.After(time.Millisecond):
				}
			}
		}, 50 * time.Millisecond, "no complete answer within 50ms"},
		"endless": {func(w http.ResponseWriter, r *http.Request) {
			for r.Context().Err() == nil {
				if _, err := io.WriteString(w, strings.Repeat(" ", 1<<16)); err != nil {
					return
				}
			}
		}, patience, reload.ErrTooLarge.Error()},
		"cut off": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", strconv.Itoa(len(keys)+1))
			_, _ = io.WriteString(w, keys)
			panic(http.ErrAbortHandler)
		}, patience, "no answer in HTTP, or only part of one"},
		"no HTTP": {func(w http.ResponseWriter, _ *http.Request) {
			conn, _, err := w.(http.Hijacker).Hijack()
			if err == nil {
				_, _ = io.WriteString(conn, "CANARY CANARY\r\n\r\n")
				_ = conn.Close()
			}
		}, patience, "no answer in HTTP, or only part of one"},
		"huge headers": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("X", strings.Repeat("CANARY", 1<<15))
			_, _ = io.WriteString(w, keys)
		}, patience, "no answer in HTTP, or only part of one"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			srv := httptest.NewServer(c.handler)
			srv.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
			t.Cleanup(func() { srv.CloseClientConnections(); srv.Close() })
			own, err := Remote(srv.URL+"/keys?token=CANARY", RemoteOptions{Client: &http.Client{Timeout: c.timeout}})
			check(t, err)
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			_, err = own.Read(ctx, maxBytes)
			if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "CANARY") {
				t.Errorf("%v; want %s", err, c.want)
			}
			if c.want == reload.ErrTooLarge.Error() && !errors.Is(err, reload.ErrTooLarge) {
				t.Errorf("%v does not wrap it", err)
			}
		})
	}
}

func TestRemoteLimit(t *testing.T) {
	t.Parallel()
	keys := string(set(newEC(t).jwk("kid", "a")))
	srv := server(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, keys) })
	if got, err := get(t, srv, RemoteOptions{}, int64(len(keys))); err != nil || got != keys {
		t.Errorf("%s, %v", got, err)
	}
	if _, err := get(t, srv, RemoteOptions{}, int64(len(keys))-1); !errors.Is(err, reload.ErrTooLarge) {
		t.Error(err)
	}
	// What was read under a wider limit is in memory, and the limit holds all the same.
	client := srv.Client()
	t.Cleanup(client.CloseIdleConnections)
	s, err := Remote(srv.URL, RemoteOptions{Client: client})
	check(t, err)
	_, err = s.Read(t.Context(), maxBytes)
	check(t, err)
	if _, err = s.Read(t.Context(), int64(len(keys))-1); !errors.Is(err, reload.ErrTooLarge) {
		t.Error(err)
	}
}

// TestRemoteNeedsModernTLS: the own client speaks no older TLS than 1.2.
func TestRemoteNeedsModernTLS(t *testing.T) {
	t.Parallel()
	s, err := Remote(address, RemoteOptions{})
	check(t, err)
	c := s.client(t.Context())
	if least := c.Transport.(*http.Transport).TLSClientConfig.MinVersion; least < tls.VersionTLS12 {
		t.Errorf("%x", least)
	}
}
