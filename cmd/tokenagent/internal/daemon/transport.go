package daemon

import (
	"context"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// A transport sends each request on in the protocol that its app speaks.
type transport struct {
	http *http.Transport // HTTP/1.1, and HTTP/2 over TLS
	h2c  *http.Transport // HTTP/2 in plain text, which is what gRPC needs
	all  bool            // everything goes by h2c
}

// newTransport returns the transport to the app at upstream, whose form is that
// of [Options].
func newTransport(upstream *url.URL) *transport {
	scheme := upstream.Scheme
	dial := (&net.Dialer{Timeout: 5 * time.Second, KeepAlive: 30 * time.Second}).DialContext
	if path := upstream.Path; strings.HasSuffix(scheme, "unix") {
		// The socket is looked for at each connection: it may come and go.
		tcp := dial
		dial = func(ctx context.Context, _, _ string) (net.Conn, error) { return tcp(ctx, "unix", path) }
	}
	base := func() *http.Transport {
		return &http.Transport{
			DialContext:         dial,
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
	t := &transport{http: base(), h2c: base(), all: strings.HasPrefix(scheme, "h2c")}
	var one, two http.Protocols
	one.SetHTTP1(true)
	if scheme == "https" {
		one.SetHTTP2(true)
		t.h2c = t.http
	}
	two.SetUnencryptedHTTP2(true)
	t.http.Protocols = &one
	if t.h2c != t.http {
		t.h2c.Protocols = &two
	}
	return t
}

func (t *transport) RoundTrip(r *http.Request) (*http.Response, error) {
	if t.all || strings.HasPrefix(r.Header.Get("Content-Type"), "application/grpc") && r.ProtoMajor == 2 {
		return t.h2c.RoundTrip(r)
	}
	if alone(r) {
		r = r.WithContext(r.Context()) // a RoundTripper changes no request
		r.Close = true
	}
	return t.http.RoundTrip(r)
}

// targetOf returns where requests go. Of a Unix socket the host is only what
// connections are kept by.
func targetOf(upstream *url.URL) *url.URL {
	switch upstream.Scheme {
	case "h2c":
		return &url.URL{Scheme: "http", Host: upstream.Host}
	case "unix", "h2c+unix":
		return &url.URL{Scheme: "http", Host: "localhost"}
	}
	return &url.URL{Scheme: upstream.Scheme, Host: upstream.Host}
}

// idleToApp is less than servers keep a connection that nobody uses: gunicorn
// does for 2 s, Node and uvicorn for 5. A request that meets that end is answered
// 502, since a POST is not sent twice; and a new connection to an app beside us
// costs little.
const idleToApp = 1500 * time.Millisecond
