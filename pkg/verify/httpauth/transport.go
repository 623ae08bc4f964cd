package httpauth

import (
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/tokenagent/tokenagent/pkg/verify"
	"github.com/tokenagent/tokenagent/pkg/verify/internal/wire"
)

// TransportOptions says where the token may be sent, and how. Hosts is required;
// the other fields may be zero.
type TransportOptions struct {
	// Hosts are the only hosts that the token is sent to, each as "host" or
	// "host:port". The request's URL must name one of them: names are compared
	// ignoring case and are not resolved, there are no patterns, and a missing port
	// is the scheme's default port. Write an IPv6 address in brackets, and an
	// internationalised name in its ASCII form (xn--), here and in URLs. An empty
	// list is an error, because it must not mean "any host".
	Hosts []string

	// Header is the name of the header that carries the token. Authorization uses
	// the Bearer scheme, any other header holds the token alone. Empty means
	// dapr-api-token.
	Header string

	// AllowPlaintext allows plain HTTP to hosts that are not loopback. Everybody on
	// the network path can then read the token, as can a proxy (HTTP_PROXY). Use it
	// for connections that are private in another way, such as a Unix socket behind
	// a dialer, or a service mesh. Without it the token goes over https, and over
	// plain HTTP only to localhost, 127.0.0.0/8 and [::1].
	AllowPlaintext bool
}

// Validate returns an error that lists everything that is wrong with o. The error
// names list entries by their index and never quotes them.
func (o TransportOptions) Validate() error {
	_, err := o.destinations()
	return err
}

func (o TransportOptions) destinations() (wire.Destinations, error) {
	d, err := wire.ParseDestinations(o.Header, o.Hosts, o.AllowPlaintext)
	d.Field.Name = http.CanonicalHeaderKey(d.Field.Name)
	if err != nil {
		return d, fmt.Errorf("httpauth: %w", err)
	}
	return d, nil
}

// Transport returns a RoundTripper that adds src's current token to each request
// to one of o.Hosts, and sends requests to other hosts unchanged. base sends the
// requests; nil means [http.DefaultTransport]. The RoundTripper is safe for
// concurrent use if base is. It asks src for each request.
//
// The request's URL decides, never its Host field. A redirect is a request of its
// own, so a redirect to another host carries no token. Neither the caller's
// request nor the response's Request field ever holds the token; only an httptrace
// of the caller sees it. A token header that the caller has set is replaced in
// requests to o.Hosts, and sent as it is to other hosts.
//
// If src returns an error, or the token would be sent in plain text without
// [TransportOptions.AllowPlaintext], the request is not sent and RoundTrip returns
// an error, which wraps that of src. localhost counts as this machine (RFC 6761
// section 6.3) and depends on the resolver; an IP address does not.
//
// A 401 means that the server did not carry out the request, whatever its method
// (RFC 9110 section 15.5.2). If src returns another token by then, RoundTrip sends
// the request once more with that token, provided that GetBody can repeat the body
// and that the request has no trailers. Otherwise the caller gets the 401.
//
// Transport panics if src is nil or [TransportOptions.Validate] returns an error.
func Transport(src verify.TokenSource, base http.RoundTripper, o TransportOptions) http.RoundTripper {
	if src == nil {
		panic("httpauth: nil TokenSource")
	}
	d, err := o.destinations()
	if err != nil {
		panic(err)
	}
	if base == nil {
		base = http.DefaultTransport
	}
	return &transport{destinations: d, token: src.Token, base: base}
}

// A transport is immutable.
type transport struct {
	destinations wire.Destinations
	token        func() (string, error) // a func, because fmt does not print the values that it captures
	base         http.RoundTripper
}

// RoundTrip implements [http.RoundTripper].
func (t *transport) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL == nil {
		return t.base.RoundTrip(r) // base reports the error
	}
	host := t.destinations.Hosts.Find(r.URL.Scheme, r.URL.Host)
	if host == nil {
		return t.base.RoundTrip(r)
	}
	if r.URL.Scheme != "https" && !t.destinations.AllowPlaintext && (!host.Loopback || t.usesProxy(r)) {
		return nil, closeBody(r, fmt.Errorf("httpauth: the token would be sent to %q in plain text; use https, or set AllowPlaintext if the connection is private by other means", r.URL.Host))
	}
	token, err := wire.CurrentToken(t.token)
	if err != nil {
		return nil, closeBody(r, fmt.Errorf("httpauth: %w", err))
	}
	resp, err := t.send(r, r.Body, token)
	if err != nil || resp == nil || resp.StatusCode != http.StatusUnauthorized || r.Context().Err() != nil {
		return resp, err
	}
	newer, err := wire.CurrentToken(t.token)
	if err != nil || newer == token {
		return resp, nil //nolint:nilerr // there is no other token to try: the caller gets the 401
	}
	body, ok := repeatBody(r)
	if !ok {
		return resp, nil
	}
	discard(resp)
	return t.send(r, body, newer)
}

// send sends a copy of r with token and body. Only the header is copied deeply: a
// body that fills in r.Trailer while it is read must reach the copy's Trailer.
func (t *transport) send(r *http.Request, body io.ReadCloser, token string) (*http.Response, error) {
	sent := *r
	sent.Body = body
	if sent.Header = r.Header.Clone(); sent.Header == nil {
		sent.Header = make(http.Header, 1)
	}
	name := t.destinations.Field.Name
	for key := range sent.Header {
		// A key in another spelling would be a second header on the wire.
		if len(key) == len(name) && strings.EqualFold(key, name) {
			delete(sent.Header, key)
		}
	}
	sent.Header[name] = []string{t.destinations.Field.Value(token)}
	resp, err := t.base.RoundTrip(&sent)
	if resp != nil {
		resp.Request = r // without the token, since callers may log it
	}
	return resp, err
}

// repeatBody returns r's body for a second attempt, and whether there is one. A
// body that fills in trailers while it is read may still be in use.
func repeatBody(r *http.Request) (io.ReadCloser, bool) {
	switch {
	case r.Body == nil || r.Body == http.NoBody:
		return r.Body, true
	case r.GetBody == nil || len(r.Trailer) > 0:
		return nil, false
	}
	body, err := r.GetBody()
	return body, err == nil && body != nil
}

// maxDiscard limits how many bytes of a 401's body discard reads so that the
// connection can be used again. The 401 of this package has under 100 bytes.
const maxDiscard = 4 << 10

// discard closes resp's body. It reads a short body to its end first; a body of
// unknown length may never end.
func discard(resp *http.Response) {
	if resp.Body == nil { // net/http always sets it; another RoundTripper may not
		return
	}
	if resp.ContentLength > 0 && resp.ContentLength <= maxDiscard {
		_, _ = io.CopyN(io.Discard, resp.Body, resp.ContentLength)
	}
	_ = resp.Body.Close()
}

// usesProxy reports whether base sends r to a proxy, which could read the token
// even if the host is this machine.
func (t *transport) usesProxy(r *http.Request) bool {
	base, ok := t.base.(*http.Transport)
	if !ok || base.Proxy == nil {
		return false
	}
	proxy, err := base.Proxy(r)
	return err != nil || proxy != nil
}

// closeBody closes the body of a request that is not sent, as [http.RoundTripper]
// requires, and returns err.
func closeBody(r *http.Request, err error) error {
	if r.Body != nil {
		_ = r.Body.Close()
	}
	return err
}

// CloseIdleConnections calls base's method of that name, if it has one. It is for
// [http.Client.CloseIdleConnections].
func (t *transport) CloseIdleConnections() {
	if c, ok := t.base.(interface{ CloseIdleConnections() }); ok {
		c.CloseIdleConnections()
	}
}

// String returns a text without the token.
func (t *transport) String() string { return "httpauth.Transport" }

// Format writes String for every verb and flag.
func (t *transport) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, t.String()) }
