package jwks

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/tokenagent/tokenagent/pkg/reload"
)

// client returns the client for the next request. If the options have no transport, each
// request gets a new one, so that it uses the current CAs, and no connection outlives the
// request.
func (s *RemoteSource) client(ctx context.Context) http.Client {
	var c http.Client
	if s.o.Client != nil {
		c = *s.o.Client
	}
	if c.Transport == nil {
		// Do not use http.DefaultTransport, which other packages may have changed.
		// Requests are too rare to keep connections.
		c.Transport = &http.Transport{
			Proxy:                  http.ProxyFromEnvironment,
			DialContext:            (&net.Dialer{Timeout: s.o.Timeout}).DialContext,
			TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: s.roots(ctx)},
			TLSHandshakeTimeout:    s.o.Timeout,
			MaxResponseHeaderBytes: 64 << 10,
			DisableKeepAlives:      true,
			DisableCompression:     true,
		}
	}
	c.Jar = nil
	c.CheckRedirect = follow
	return c
}

// roots returns the CAs that are trusted now. nil means the roots of crypto/x509.
func (s *RemoteSource) roots(ctx context.Context) *x509.CertPool {
	if s.files.ca != nil {
		return s.files.ca.Load()
	}
	if now := systemRoots(ctx); now != nil {
		s.system = now // otherwise keep the last roots
	}
	return s.system
}

var (
	errRedirects = errors.New("more than three redirects")
	errDowngrade = errors.New("a redirect away from https")
)

// follow returns an error if a redirect must not be followed.
func follow(r *http.Request, via []*http.Request) error {
	switch {
	case len(via) > 3:
		return errRedirects
	case r.URL.Scheme != "https" || r.URL.User != nil:
		return errDowngrade
	}
	r.Header.Del("Referer") // the header would reveal the query to another host
	isOther := func(r *http.Request) bool { return !isSameServer(via[0].URL, r.URL) }
	if isOther(r) || slices.ContainsFunc(via, isOther) {
		// net/http sends the token to other ports and subdomains, too. Once a redirect
		// has left the server, do not send the token again, because another server must
		// not choose what is requested with it.
		r.Header.Del("Authorization")
	}
	return nil
}

// isSameServer reports whether two URLs have the same scheme, host and port.
func isSameServer(a, b *url.URL) bool {
	port := func(u *url.URL) string {
		return cmp.Or(u.Port(), map[string]string{"https": "443", "http": "80"}[u.Scheme])
	}
	return a.Scheme == b.Scheme && strings.EqualFold(a.Hostname(), b.Hostname()) && port(a) == port(b)
}

// An answer is the result of a request.
type answer struct {
	header      http.Header
	body        []byte
	notModified bool          // the keys are not modified, and body is nil
	retryAfter  time.Duration // after an error, the pause that the server asks for
}

// fetch makes one request. If conditional is true, the server may answer that the keys
// have not changed. The error names the source and says how to fix it, and never quotes
// the answer.
//
// fetch never sends If-Modified-Since. Servers compare it with the time of a file, and
// answer that a rolled back or rebuilt file has not been modified.
func (s *RemoteSource) fetch(ctx context.Context, limit int64, conditional bool) (a answer, err error) {
	if err := s.files.missing(); err != nil {
		return a, fmt.Errorf("%s: it is not asked without its files: %w", s.name, err)
	}
	ctx, cancel := context.WithTimeout(ctx, s.o.Timeout)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, s.url, nil)
	if err != nil {
		return a, s.errorf("no request can be made of it; correct the URL")
	}
	r.Header.Set("Accept", "application/jwk-set+json, application/json")
	r.Header.Set("User-Agent", "tokenagent")
	if s.files.bearer != nil {
		r.Header.Set("Authorization", "Bearer "+*s.files.bearer.Load())
	}
	switch {
	case conditional:
		r.Header.Set("If-None-Match", s.etag) // RFC 9110 section 13.1.2
	case s.body != nil:
		r.Header.Set("Cache-Control", "no-cache") // a proxy must not repeat its cached answer
	}
	client := s.client(ctx)
	resp, err := client.Do(r)
	if err != nil {
		return a, s.unreachable(err)
	}
	defer resp.Body.Close()
	a.header = resp.Header
	switch code := resp.StatusCode; {
	case code == http.StatusNotModified && conditional:
		a.notModified = true
		return a, nil
	case code == http.StatusNotModified:
		return a, s.errorf("the server answers 304 to a request without a condition; fix it there, or in the proxy before it")
	case code == http.StatusUnauthorized || code == http.StatusForbidden:
		return a, s.errorf("the server answers %d; give it a token that may read the keys (--jwks-bearer-file, RemoteOptions.BearerFile)", code)
	case code == http.StatusTooManyRequests || code == http.StatusServiceUnavailable:
		a.retryAfter = retryAfter(resp.Header)
		return a, s.errorf("the server answers %d; it is asked again later", code)
	case code >= http.StatusInternalServerError:
		return a, s.errorf("the server answers %d; fix it there", code)
	case code != http.StatusOK:
		return a, s.errorf("the server answers %d; give the address of the key set (jwks_uri)", code)
	}
	if a.body, err = io.ReadAll(io.LimitReader(resp.Body, limit+1)); err != nil {
		return a, s.unreachable(err)
	}
	if int64(len(a.body)) > limit {
		return a, s.tooLarge(limit)
	}
	_, err = Parse(a.body, s.ParseOptions())
	return a, err
}

func (s *RemoteSource) errorf(format string, args ...any) error {
	return errors.New(s.name + ": " + fmt.Sprintf(format, args...))
}

func (s *RemoteSource) tooLarge(limit int64) error {
	return fmt.Errorf("%s: %w: over %d bytes; give the address of the key set (jwks_uri)", s.name, reload.ErrTooLarge, limit)
}

// unreachable returns the error of a request without an answer. It does not use the text
// of net/http, which contains the URL with its query, changing port numbers, and data
// from the server.
func (s *RemoteSource) unreachable(err error) error {
	netErr, isNet := errors.AsType[net.Error](err)
	_, isName := errors.AsType[*net.DNSError](err)
	_, isUntrusted := errors.AsType[*tls.CertificateVerificationError](err)
	switch {
	case errors.Is(err, errRedirects):
		return s.errorf("%v; give the address where they end", errRedirects)
	case errors.Is(err, errDowngrade):
		return s.errorf("%v, where anybody on the way could put keys in; give the https address of the key set", errDowngrade)
	case isNet && netErr.Timeout():
		return s.errorf("no whole answer within %s; look whether the server, or the proxy, can be reached", s.o.Timeout)
	case isName:
		return s.errorf("the host's name is not known; correct the URL, or fix the DNS")
	case isUntrusted:
		return s.errorf("the server's certificate is not trusted; correct the host, or give its CA (--jwks-ca-file, RemoteOptions.CAFile)")
	case errors.Is(err, syscall.ECONNREFUSED):
		return s.errorf("the connection is refused; look whether the server, or the proxy, runs")
	default:
		return s.errorf("no answer in HTTP, or not a whole one; look whether the URL is that of a web server")
	}
}

// validETag returns the ETag of an answer, or "" if a request with it could not be sent.
func validETag(h http.Header) string {
	etag := h.Get("ETag")
	if len(etag) > 1024 || strings.ContainsFunc(etag, func(r rune) bool { return r < 0x20 || r > 0x7E }) {
		return ""
	}
	return etag
}
