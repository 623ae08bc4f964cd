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

// A transport sends each request on in the protocol that its app speaks.
type transport struct {
	http *http.Transport // HTTP/1.1, and HTTP/2 over TLS
	h2c  *http.Transport // HTTP/2 in plain text, for gRPC; the same as http with TLS
	all  bool            // everything goes by h2c
}

// idleToApp is shorter than the time after which servers close an idle connection: 2 s
// for gunicorn, 5 s for Node and uvicorn. A request on a connection that the app is
// closing is answered 502, because a POST is not sent twice. A new connection to an app
// on the same machine costs little.
const idleToApp = 1500 * time.Millisecond

// newTransport returns the transport to the app at upstream, whose form is that
// of [Options].
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
			// The app may refuse a body before it is sent.
			ExpectContinueTimeout: time.Second,
			// All requests go to one host.
			MaxIdleConns: 256, MaxIdleConnsPerHost: 256,
			// An app's answer passes as it is, compressed or not.
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

// mustBeLast reports whether r, on its way to an app over HTTP/1.1, must be the last on
// its connection. A server that leaves a body unread, as Python's http.server does,
// reads it as the next request, which may have any path and any subject and which nobody
// has checked. So the connection is not used again after a request with a body that
// needs no token, or that has a method for which few apps expect a body (RFC 9110
// section 9.3.1). Apps do read the bodies of the other requests.
func mustBeLast(r *http.Request) bool {
	if r.ContentLength == 0 { // -1 is unknown
		return false
	}
	if len(r.Header[headername.Subject]) == 0 {
		return true // needs no token
	}
	switch r.Method {
	case http.MethodPost, http.MethodPut, http.MethodPatch:
		return false
	}
	return true
}

// targetOf returns where requests go. For a Unix socket the host only names the pool of
// connections.
func targetOf(upstream *url.URL) *url.URL {
	switch upstream.Scheme {
	case "h2c":
		return &url.URL{Scheme: "http", Host: upstream.Host}
	case "unix", "h2c+unix":
		return &url.URL{Scheme: "http", Host: "localhost"}
	}
	return &url.URL{Scheme: upstream.Scheme, Host: upstream.Host}
}
