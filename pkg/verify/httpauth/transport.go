package httpauth

import (
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/tokenagent/tokenagent/pkg/verify"
)

// A TokenSource knows the token to send now. It is asked for every request, so
// it answers from memory, as agent.Agent does. It is safe for concurrent use.
type TokenSource interface {
	Token() (string, error)
}

// Transport returns a RoundTripper that sends src's current token with each
// request to one of o.Hosts, and passes every request to another host on as it
// is. base sends them; nil means [http.DefaultTransport].
//
// What decides is the URL that is asked, never the Host field. A redirect is a
// request of its own: to another host it carries no token, since the caller's
// request, which [http.Client] copies headers from, never held it, and neither
// does the response's Request; only the caller's own httptrace sees it. A token
// header that the caller sets is replaced on the way to o.Hosts; elsewhere it is
// the caller's own affair.
//
// Where src has no token, or the token would go over plain HTTP without leave
// (see [TransportOptions]), the request is not sent. The error wraps src's.
// Whether "localhost" is this machine is for the resolver to keep (RFC 6761
// section 6.3); an address leaves no doubt.
//
// A 401 means that the request was not carried out, whatever its method (RFC
// 9110 section 15.5.2). So if src has another token by then, the request is
// sent once more with that one, provided that its body, if it has one, can be
// had again from GetBody, and that it has no trailers. Else, and after that, a
// 401 is the caller's, as any other answer is.
//
// It panics if src is nil or [TransportOptions.Validate] reports an error.
func Transport(src TokenSource, base http.RoundTripper, o TransportOptions) http.RoundTripper {
	if src == nil {
		panic("httpauth: nil TokenSource")
	}
	d, err := o.compile()
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
	destinations
	token func() (string, error) // and not its source: fmt cannot look into a func
	base  http.RoundTripper
}

// RoundTrip implements [http.RoundTripper].
func (t *transport) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL == nil {
		return t.base.RoundTrip(r) // which knows what to say
	}
	host := t.hosts.Find(r.URL.Scheme, r.URL.Host)
	if host == nil {
		return t.base.RoundTrip(r)
	}
	if r.URL.Scheme != "https" && !t.allowPlaintext && (!host.Loopback || t.proxied(r)) {
		return nil, unsent(r, fmt.Errorf("httpauth: %q would be sent the token in plain text; use https, or set AllowPlaintext if the connection is private by other means", r.URL.Host))
	}
	token, err := t.current()
	if err != nil {
		return nil, unsent(r, err)
	}
	resp, err := t.send(r, r.Body, token)
	if err != nil || resp == nil || resp.StatusCode != http.StatusUnauthorized || r.Context().Err() != nil {
		return resp, err
	}
	newer, err := t.current()
	if err != nil || newer == token {
		return resp, nil //nolint:nilerr // there is nothing to try again with: the 401 stands
	}
	body, ok := again(r)
	if !ok {
		return resp, nil
	}
	discard(resp)
	return t.send(r, body, newer)
}

// send sends a copy of r with token and body. The copy is shallow but for the
// header, so that a body which fills in r's Trailer is seen to.
func (t *transport) send(r *http.Request, body io.ReadCloser, token string) (*http.Response, error) {
	sent := *r
	sent.Body = body
	if sent.Header = r.Header.Clone(); sent.Header == nil {
		sent.Header = make(http.Header, 1)
	}
	for key := range sent.Header {
		// A key in another spelling would be a second header on the wire.
		if len(key) == len(t.field.Name) && strings.EqualFold(key, t.field.Name) {
			delete(sent.Header, key)
		}
	}
	sent.Header[t.field.Name] = []string{t.field.Value(token)}
	resp, err := t.base.RoundTrip(&sent)
	if resp != nil {
		resp.Request = r // callers log that one
	}
	return resp, err
}

// current returns the token to send now.
func (t *transport) current() (string, error) {
	token, err := t.token()
	switch {
	case err != nil:
		return "", fmt.Errorf("httpauth: no token to send: %w", err)
	case token == "":
		return "", fmt.Errorf("httpauth: the source gave an empty token: %w", verify.ErrUnavailable)
	}
	return token, nil
}

// again returns r's body for a second time, and whether there can be one. A
// body that fills in trailers while it is read may still be at it.
func again(r *http.Request) (io.ReadCloser, bool) {
	switch {
	case r.Body == nil || r.Body == http.NoBody:
		return r.Body, true
	case r.GetBody == nil || len(r.Trailer) > 0:
		return nil, false
	}
	body, err := r.GetBody()
	return body, err == nil && body != nil
}

// maxDiscard is how much of a refusal is read, in bytes, so that its connection
// can be used again. Ours has under a hundred.
const maxDiscard = 4 << 10

// discard gives up the answer. One that does not say that it is short may take
// for ever to end.
func discard(resp *http.Response) {
	if resp.Body == nil { // net/http sees to it; others may not
		return
	}
	if resp.ContentLength > 0 && resp.ContentLength <= maxDiscard {
		_, _ = io.CopyN(io.Discard, resp.Body, resp.ContentLength)
	}
	_ = resp.Body.Close()
}

// proxied reports whether base would send r to a proxy, to which the token would
// go in the clear, wherever the host is.
func (t *transport) proxied(r *http.Request) bool {
	base, ok := t.base.(*http.Transport)
	if !ok || base.Proxy == nil {
		return false
	}
	proxy, err := base.Proxy(r)
	return err != nil || proxy != nil
}

// unsent closes the body of a request that is not sent, as [http.RoundTripper]
// demands.
func unsent(r *http.Request, err error) error {
	if r.Body != nil {
		_ = r.Body.Close()
	}
	return err
}

// CloseIdleConnections passes on what [http.Client.CloseIdleConnections] asks.
func (t *transport) CloseIdleConnections() {
	if c, ok := t.base.(interface{ CloseIdleConnections() }); ok {
		c.CloseIdleConnections()
	}
}

// String returns a text that holds no token.
func (t *transport) String() string { return "httpauth.Transport" }

// Format writes String for every verb and flag.
func (t *transport) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, t.String()) }
