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

// client returns the one that makes the next request. A transport of our own is new
// for each, so that what is trusted by then holds, and no connection outlives it.
func (s *RemoteSource) client(ctx context.Context) http.Client {
	var c http.Client
	if s.o.Client != nil {
		c = *s.o.Client
	}
	if c.Transport == nil {
		// Not the shared default one, which others may have changed. A request
		// an hour needs no connection kept.
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

// roots returns the CAs that are trusted now; nil means those of crypto/x509.
func (s *RemoteSource) roots(ctx context.Context) *x509.CertPool {
	if s.files.ca != nil {
		return s.files.ca.Load()
	}
	if now := systemRoots(ctx); now != nil {
		s.system = now // or else keep what was good
	}
	return s.system
}

var (
	errRedirects = errors.New("more than three redirects")
	errDowngrade = errors.New("a redirect away from https")
)

// follow decides about a redirect.
func follow(r *http.Request, via []*http.Request) error {
	switch {
	case len(via) > 3:
		return errRedirects
	case r.URL.Scheme != "https" || r.URL.User != nil:
		return errDowngrade
	}
	r.Header.Del("Referer") // it would show the query to another host
	first := via[0].URL
	other := func(r *http.Request) bool { return !isServer(first, r.URL) }
	if other(r) || slices.ContainsFunc(via, other) {
		// net/http takes another port, and a subdomain, for the same server. Nor may
		// another server choose what is asked for with the token.
		r.Header.Del("Authorization")
	}
	return nil
}

// isServer reports whether two URLs are of one server.
func isServer(a, b *url.URL) bool {
	port := func(u *url.URL) string {
		return cmp.Or(u.Port(), map[string]string{"https": "443", "http": "80"}[u.Scheme])
	}
	return a.Scheme == b.Scheme && strings.EqualFold(a.Hostname(), b.Hostname()) && port(a) == port(b)
}

// An answer is what a request gave.
type answer struct {
	header http.Header
	body   []byte
	same   bool          // not modified: body is nil
	after  time.Duration // of an error: how long to leave the server alone
}

// fetch makes one request, with the condition that the answer has changed or without.
// The error names the source and the fix, and quotes nothing of the answer.
//
// If-Modified-Since is never sent: servers compare it with the time of a file, and
// say of one that was rolled back or built anew that it has not been modified.
func (s *RemoteSource) fetch(ctx context.Context, limit int64, conditional bool) (a answer, err error) {
	if err := s.files.missing(); err != nil {
		return a, fmt.Errorf("%s: it is not asked without its files: %w", s.name, err)
	}
	ctx, cancel := context.WithTimeout(ctx, s.o.Timeout)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, s.url, nil)
	if err != nil {
		return a, s.fault("no request can be made of it; correct the URL")
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
		r.Header.Set("Cache-Control", "no-cache") // nor shall a proxy on the way repeat itself
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
		a.same = true
		return a, nil
	case code == http.StatusNotModified:
		return a, s.fault("the server answers 304 to a request without a condition; fix it there, or in the proxy before it")
	case code == http.StatusUnauthorized || code == http.StatusForbidden:
		return a, s.fault("the server answers %d; give it a token that may read the keys (--jwks-bearer-file, RemoteOptions.BearerFile)", code)
	case code == http.StatusTooManyRequests || code == http.StatusServiceUnavailable:
		a.after = retryAfter(resp.Header, time.Now())
		return a, s.fault("the server answers %d; it is asked again later", code)
	case code >= http.StatusInternalServerError:
		return a, s.fault("the server answers %d; fix it there", code)
	case code != http.StatusOK:
		return a, s.fault("the server answers %d; give the address of the key set (jwks_uri)", code)
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

func (s *RemoteSource) fault(format string, args ...any) error {
	return errors.New(s.name + ": " + fmt.Sprintf(format, args...))
}

func (s *RemoteSource) tooLarge(limit int64) error {
	return fmt.Errorf("%s: %w: over %d bytes; give the address of the key set (jwks_uri)", s.name, reload.ErrTooLarge, limit)
}

// unreachable words what kept an answer from coming. The words of net/http hold
// the URL with its query, ports that differ from time to time, and what the
// server sent.
func (s *RemoteSource) unreachable(err error) error {
	var timeout net.Error
	var name *net.DNSError
	var untrusted *tls.CertificateVerificationError
	var authority x509.UnknownAuthorityError
	switch {
	case errors.Is(err, errRedirects):
		return s.fault("%v; give the address where they end", errRedirects)
	case errors.Is(err, errDowngrade):
		return s.fault("%v, where anybody on the way could put keys in; give the https address of the key set", errDowngrade)
	case errors.As(err, &timeout) && timeout.Timeout():
		return s.fault("no whole answer within %s; look whether the server, or the proxy, can be reached", s.o.Timeout)
	case errors.As(err, &name):
		return s.fault("the host's name is not known; correct the URL, or fix the DNS")
	case errors.As(err, &untrusted), errors.As(err, &authority):
		return s.fault("the server's certificate is not trusted; correct the host, or give its CA (--jwks-ca-file, RemoteOptions.CAFile)")
	case errors.Is(err, syscall.ECONNREFUSED):
		return s.fault("the connection is refused; look whether the server, or the proxy, runs")
	default:
		return s.fault("no answer in HTTP, or not a whole one; look whether the URL is that of a web server")
	}
}

// validator returns a header that can be sent back as it is, and "" otherwise.
func validator(h http.Header, name string) string {
	text := h.Get(name)
	if len(text) > 1024 {
		return ""
	}
	for i := range len(text) {
		if text[i] < 0x20 || text[i] > 0x7E {
			return "" // a request with it would fail from now on
		}
	}
	return text
}
