package server

import (
	"context"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/headername"
)

// A transport sends each request to the app in the protocol that the app speaks.
type transport struct {
	http *http.Transport // HTTP/1.1, and HTTP/2 over TLS
	h2c  *http.Transport // HTTP/2 in plain text, for gRPC; the same as http with TLS
	all  bool            // h2c sends all requests
}

// idleToApp is how long the transport keeps an idle connection to the app. It is shorter
// than the time after which servers close one: 2 s for gunicorn, 5 s for Node and
// uvicorn. A POST on a connection that the app is closing would be answered 502, because
// it is not sent twice. A new connection to an app on the same machine costs little.
const idleToApp = 1500 * time.Millisecond

// newTransport returns the transport to the app at upstream; see [Options] for its form.
func newTransport(upstream *url.URL) *transport {
	scheme := upstream.Scheme
	dialer := &net.Dialer{Timeout: 5 * time.Second, KeepAlive: 30 * time.Second}
	dial := dialer.DialContext
	if strings.HasSuffix(scheme, "unix") {
		dial = func(ctx context.Context, _, _ string) (net.Conn, error) {
			return dialer.DialContext(ctx, "unix", upstream.Path)
		}
	}
	with := func(protocols http.Protocols) *http.Transport {
		return &http.Transport{
			DialContext:         dial,
			Protocols:           &protocols,
			TLSHandshakeTimeout: 5 * time.Second,
			IdleConnTimeout:     idleToApp,
			// Wait for the app's 100 (Continue) or refusal before sending the body.
			ExpectContinueTimeout: time.Second,
			// All requests go to one host.
			MaxIdleConns: 256, MaxIdleConnsPerHost: 256,
			// The client gets the app's answer unchanged, compressed or not.
			DisableCompression: true,
			HTTP2:              &http.HTTP2Config{SendPingTimeout: 15 * time.Second, PingTimeout: 15 * time.Second},
		}
	}
	var http1, h2c http.Protocols
	http1.SetHTTP1(true)
	http1.SetHTTP2(scheme == "https")
	h2c.SetUnencryptedHTTP2(true)
	t := &transport{http: with(http1), h2c: with(h2c), all: strings.HasPrefix(scheme, "h2c")}
	if scheme == "https" {
		t.h2c = t.http
	}
	return t
}

func (t *transport) RoundTrip(r *http.Request) (*http.Response, error) {
	if t.all || isGRPC(r) {
		return t.h2c.RoundTrip(r)
	}
	if mustBeLast(r) {
		r = r.WithContext(r.Context()) // a RoundTripper must not change the request
		r.Close = true
	}
	return t.http.RoundTrip(r)
}

// CloseIdleConnections closes the connections to the app that no request uses.
func (t *transport) CloseIdleConnections() {
	t.http.CloseIdleConnections()
	t.h2c.CloseIdleConnections()
}

// mustBeLast reports whether r must be the last request on its HTTP/1.1 connection to the
// app. Some servers, such as Python's http.server, do not read the body of every request.
// They then read the body as the next request, which nobody has checked and which may
// have any path and any subject. So the connection is not used again after a request with
// a body if the request needs no token, or if few apps expect a body with its method (RFC
// 9110 section 9.3.1). Apps read the bodies of other requests.
func mustBeLast(r *http.Request) bool {
	if r.ContentLength == 0 { // -1 is unknown
		return false
	}
	if len(r.Header[headername.Subject]) == 0 {
		return true // r needs no token
	}
	switch r.Method {
	case http.MethodPost, http.MethodPut, http.MethodPatch:
		return false
	}
	return true
}

// targetOf returns the scheme and the host for requests to the app. For a Unix socket the
// host only names the pool of connections.
func targetOf(upstream *url.URL) *url.URL {
	switch upstream.Scheme {
	case "h2c":
		return &url.URL{Scheme: "http", Host: upstream.Host}
	case "unix", "h2c+unix":
		return &url.URL{Scheme: "http", Host: "localhost"}
	}
	return &url.URL{Scheme: upstream.Scheme, Host: upstream.Host}
}
