package server

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tokenagent/tokenagent/internal/testlog"
)

// echo answers with the request as the app saw it.
func echo() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		_ = json.NewEncoder(w).Encode(map[string]any{
			"method": r.Method, "uri": r.RequestURI, "host": r.Host, "proto": r.Proto, "header": r.Header, "body": string(body),
		})
	})
}

type seen struct {
	Method, URI, Host, Proto, Body string
	Header                         http.Header
}

func (r reply) seen(t *testing.T) (s seen) {
	t.Helper()
	if err := json.Unmarshal([]byte(r.body), &s); r.code != http.StatusOK || err != nil {
		t.Fatalf("%d %q: %v", r.code, r.body, err)
	}
	return s
}

func TestProxyPassesOnAcceptedRequests(t *testing.T) {
	t.Parallel()
	a, _ := startAgent(t, good)
	base := front(t, a, Options{Upstream: app(t, echo())})
	s := ask(t, http.MethodPut, base+"/a%2Fb//c?x=1;y=%zz&q", "dapr-api-token: "+good, "Authorization: Bearer of-an-end-user",
		"X-Tokenagent-Subject: admin", "X-Tokenagent_subject: admin", "x_tokenagent-subject: admin", "X-Other: stays").seen(t)
	if s.URI != "/a%2Fb//c?x=1;y=%zz&q" || s.Method != http.MethodPut || s.Host != strings.TrimPrefix(base, "http://") {
		t.Errorf("not as the client wrote it: %+v", s)
	}
	if got := s.Header.Get("Dapr-Api-Token"); got != "" {
		t.Error("the app sees the token")
	}
	if s.Header.Get("Authorization") != "Bearer of-an-end-user" || s.Header.Get("X-Other") != "stays" {
		t.Errorf("headers that are not the credential are lost: %v", s.Header)
	}
	for name, values := range s.Header {
		if strings.EqualFold(strings.ReplaceAll(name, "_", "-"), "x-tokenagent-subject") && (name != "X-Tokenagent-Subject" || len(values) != 1 || values[0] != "token") {
			t.Errorf("a forged identity reaches the app: %s: %v", name, values)
		}
	}
	s = ask(t, "GET", base, "Authorization: Bearer "+good).seen(t)
	if s.Header.Get("Authorization") != "" || s.Header.Get("X-Tokenagent-Subject") != "token" {
		t.Errorf("the credential stays: %v", s.Header)
	}
	// A client may name headers in Connection to have them removed, but not the identity.
	s = ask(t, "GET", base, "dapr-api-token: "+good, "Connection: X-Tokenagent-Subject").seen(t)
	if s.Header.Get("X-Tokenagent-Subject") != "token" {
		t.Error("the identity can be taken off by naming it in Connection")
	}
}

// TestP7_NoSpellingOfTheTokensHeaderReachesTheApp: a server that turns headers into
// variables would take another spelling for the header. The path may need no token.
func TestP7_NoSpellingOfTheTokensHeaderReachesTheApp(t *testing.T) {
	t.Parallel()
	a, _ := startAgent(t, good)
	base := front(t, a, Options{Upstream: app(t, echo()), AllowPaths: []string{"/open"}}, "dapr-api-token", "x_api_key", "x-api-key")
	forged := []string{"Dapr_Api_Token: zz", "dapr.api.token: zz", "DAPR-API_TOKEN: zz", "x~api~key: zz", "x.tokenagent.subject: zz", "X-Tokenagent~Method: zz", "X-Other_Name: stays"}
	for path, token := range map[string]string{"/x": "dapr-api-token: " + good, "/x?key": "x_api_key: " + good, "/open": "X-Other: x"} {
		for name, values := range ask(t, "GET", base+path, append(forged, token)...).seen(t).Header {
			if slices.Contains(values, "zz") || slices.Contains(values, good) {
				t.Errorf("%s: the app sees %s: %q", path, name, values)
			}
		}
	}
	if s := ask(t, "GET", base+"/open", forged...).seen(t); s.Header["X-Other_name"] == nil {
		t.Errorf("another header is lost: %v", s.Header)
	}
}

func TestProxyRefuses(t *testing.T) {
	t.Parallel()
	a, _ := startAgent(t, good)
	reached := false
	base := front(t, a, Options{
		Upstream:   app(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached = true })),
		AllowPaths: []string{"/open", "POST /hook"},
	})
	for _, target := range []string{"/", "/opened", "/open/", "/ope%6e", "//open", "/x/../open", "/open;x", "/./open", "/hook"} {
		for _, header := range []string{"X: y", "dapr-api-token: " + bad, "X-Tokenagent-Subject: token"} {
			r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, base, nil)
			if err != nil {
				t.Fatal(err)
			}
			r.URL.Opaque = target // not cleaned by the client
			name, value, _ := strings.Cut(header, ": ")
			r.Header.Set(name, value)
			res, err := client(t).Do(r)
			if err != nil {
				t.Fatal(err)
			}
			_ = res.Body.Close()
			if res.StatusCode != http.StatusUnauthorized {
				t.Errorf("GET %s with %s: %d", target, name, res.StatusCode)
			}
		}
	}
	if reached {
		t.Error("a refused request reached the app")
	}
}

func TestProxyAllowPath(t *testing.T) {
	t.Parallel()
	a, _ := startAgent(t, good)
	base := front(t, a, Options{Upstream: app(t, echo()), AllowPaths: []string{"/open", "POST /hook"}})
	for _, c := range []struct {
		method, path string
		code         int
	}{{"GET", "/open", 200}, {"HEAD", "/open", 200}, {"POST", "/open", 401}, {"POST", "/hook", 200}, {"GET", "/hook", 401}, {"GET", "/open?x=1", 200}} {
		if r := ask(t, c.method, base+c.path); r.code != c.code {
			t.Errorf("%s %s: %d, want %d", c.method, c.path, r.code, c.code)
		}
	}
	s := ask(t, "GET", base+"/open", "dapr-api-token: "+good, "X-Tokenagent-Subject: admin", "X_Tokenagent_Subject: admin").seen(t)
	if len(s.Header["X-Tokenagent-Subject"])+len(s.Header["X_tokenagent_subject"])+len(s.Header["Dapr-Api-Token"]) > 0 {
		t.Errorf("an exempt request carries an identity or a token: %v", s.Header)
	}
}

// TestHealthBrake: daprd must find the app unhealthy until tokens are loaded. Then it gets
// the app's own answer.
func TestHealthBrake(t *testing.T) {
	t.Parallel()
	a, path := startAgent(t, "")
	base := front(t, a, Options{Upstream: app(t, echo()), HealthPath: "/healthz"})
	if r := ask(t, "GET", base+"/healthz"); r.code != http.StatusServiceUnavailable {
		t.Errorf("before: %d", r.code)
	}
	if r := ask(t, "GET", base+"/dapr/subscribe", "dapr-api-token: "+good); r.code != http.StatusServiceUnavailable {
		t.Errorf("a call before: %d", r.code)
	}
	write(t, path, good)
	until(t, "the app answers its health check", func() bool { return ask(t, "GET", base+"/healthz").code == http.StatusOK })
	if r := ask(t, "GET", base+"/dapr/subscribe", "dapr-api-token: "+good); r.code != http.StatusOK {
		t.Errorf("a call after: %d", r.code)
	}
	if r := ask(t, "GET", base+"/healthz2"); r.code != http.StatusUnauthorized {
		t.Errorf("another path: %d", r.code)
	}
}

func TestProxyWithoutTheApp(t *testing.T) {
	t.Parallel()
	a, _ := startAgent(t, good)
	var log testlog.Log
	gone, _ := url.Parse("http://" + freeAddr(t))
	base := front(t, a, Options{Upstream: gone, Logger: slog.New(slog.NewTextHandler(&log, nil))})
	r := ask(t, "GET", base+"/x?token="+bad, "dapr-api-token: "+good)
	if r.code != http.StatusBadGateway || strings.Contains(r.body, gone.Host) {
		t.Errorf("%d %q", r.code, r.body)
	}
	if !strings.Contains(log.String(), "did not answer") || strings.Contains(log.String(), "CANARY") {
		t.Errorf("log: %s", log.String())
	}
}

func TestProxyForwardedHeaders(t *testing.T) {
	t.Parallel()
	a, _ := startAgent(t, good)
	base := front(t, a, Options{Upstream: app(t, echo())})
	s := ask(t, "GET", base, "dapr-api-token: "+good).seen(t)
	if s.Header.Get("X-Forwarded-For") != "127.0.0.1" || s.Header.Get("X-Forwarded-Proto") != "http" || s.Header.Get("X-Forwarded-Host") == "" {
		t.Errorf("without a gateway in front: %v", s.Header)
	}
	s = ask(t, "GET", base, "dapr-api-token: "+good, "X-Forwarded-For: 203.0.113.7", "X-Forwarded-Proto: https", "X-Forwarded-Host: shop.example").seen(t)
	if s.Header.Get("X-Forwarded-For") != "203.0.113.7, 127.0.0.1" || s.Header.Get("X-Forwarded-Proto") != "https" || s.Header.Get("X-Forwarded-Host") != "shop.example" {
		t.Errorf("behind a gateway: %v", s.Header)
	}
}

func TestProxyStreams(t *testing.T) {
	t.Parallel()
	a, _ := startAgent(t, good)
	release := make(chan struct{})
	base := front(t, a, Options{Upstream: app(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "10")
		_, _ = io.WriteString(w, "first")
		w.(http.Flusher).Flush()
		<-release
		_, _ = io.WriteString(w, "later")
	}))})
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, base, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Dapr-Api-Token", good)
	res, err := client(t).Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	part := make([]byte, 5)
	if _, err := io.ReadFull(res.Body, part); err != nil || string(part) != "first" {
		t.Fatalf("%q, %v", part, err)
	}
	close(release) // only now: the first part came through before the rest was written
	if rest, err := io.ReadAll(res.Body); err != nil || string(rest) != "later" {
		t.Errorf("%q, %v", rest, err)
	}
}

// TestP5_NoTunnelWithoutAToken: if an app agrees to another protocol, the connection is a
// tunnel, in which nobody checks tokens.
func TestP5_NoTunnelWithoutAToken(t *testing.T) {
	t.Parallel()
	a, _ := startAgent(t, good)
	base := front(t, a, Options{AllowPaths: []string{"/open"}, Upstream: app(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if p := r.Header.Get("Upgrade"); p != "" {
			w.Header().Set("Connection", "Upgrade")
			w.Header().Set("Upgrade", p)
			w.WriteHeader(http.StatusSwitchingProtocols)
		}
	}))})
	for _, c := range []struct {
		name, path, protocol, token string
		code                        int
	}{
		{"h2c, exempt", "/open", "h2c", "", http.StatusOK},
		{"websocket, exempt", "/open", "websocket", "", http.StatusOK},
		{"h2c, with a token", "/", "h2c", good, http.StatusOK},
		{"websocket, with a token", "/", "websocket", good, http.StatusSwitchingProtocols},
		{"websocket, without", "/", "websocket", "", http.StatusUnauthorized},
	} {
		conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", strings.TrimPrefix(base, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: %s\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\ndapr-api-token: %s\r\n\r\n", c.path, c.protocol, c.token)
		res, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		_ = res.Body.Close()
		_ = conn.Close()
		if res.StatusCode != c.code {
			t.Errorf("%s: %d, want %d", c.name, res.StatusCode, c.code)
		}
	}
}

// TestRefusalDoesNotWaitForTheBody: an unauthenticated client cannot hold a connection.
func TestRefusalDoesNotWaitForTheBody(t *testing.T) {
	t.Parallel()
	a, _ := startAgent(t, good)
	for name, base := range map[string]string{"proxy": front(t, a, Options{Upstream: app(t, echo())}), "forward-auth": front(t, a, Options{})} {
		conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", strings.TrimPrefix(base, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		_ = conn.SetDeadline(time.Now().Add(5 * time.Second))
		fmt.Fprint(conn, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n")
		answer, err := io.ReadAll(conn) // until the server closes
		_ = conn.Close()
		if err != nil || !strings.HasPrefix(string(answer), "HTTP/1.1 401 ") {
			t.Errorf("%s: %q, %v", name, answer, err)
		}
	}
}
