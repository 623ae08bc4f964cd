package jwks

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"syscall"
	"time"

	"github.com/tokenagent/tokenagent/pkg/reload"
)

// newClient returns a copy of base, which may be nil, with what every request needs.
func newClient(base *http.Client) (c http.Client) {
	if base != nil {
		c = *base
	}
	if c.Timeout <= 0 {
		c.Timeout = defaultTimeout
	}
	c.Jar = nil
	return c
}

// client returns the client for the next fetch. If the options have no transport, each
// fetch gets a new one, so that it uses the current CAs, and no connection outlives a
// request.
func (s *RemoteSource) client(ctx context.Context) http.Client {
	c := s.http
	if c.Transport == nil {
		// Do not use http.DefaultTransport, which other packages may have changed.
		// Requests are too rare to keep connections.
		c.Transport = &http.Transport{
			Proxy:                  http.ProxyFromEnvironment,
			TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: s.roots(ctx)},
			MaxResponseHeaderBytes: 64 << 10,
			DisableKeepAlives:      true,
			DisableCompression:     true,
		}
	}
	return c
}

// roots returns the CAs that are trusted now. nil means the roots of crypto/x509.
func (s *RemoteSource) roots(ctx context.Context) *x509.CertPool {
	if ca, ok := s.files.CA(); ok {
		return ca
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
	isOther := func(r *http.Request) bool { return r.URL.Host != via[0].URL.Host }
	if isOther(r) || slices.ContainsFunc(via, isOther) {
		// net/http sends the token to other ports and subdomains, too. Once a redirect
		// has left the server, do not send the token again, because another server must
		// not choose what is requested with it.
		r.Header.Del("Authorization")
	}
	return nil
}

// An answer is what one fetch returned.
type answer struct {
	body        []byte    // a valid key set
	keys        *location // where it is
	fresh       time.Duration
	retryAfter  time.Duration // of a failure
	documentErr error         // of the metadata document, whose last valid content is then used
}

// fetch requests the keys and, before them, the metadata document that says where they are,
// if there is one. The error names the source and says how to fix it, and never quotes an
// answer.
func (s *RemoteSource) fetch(ctx context.Context, limit int64) (a answer, err error) {
	if err := s.files.Missing(); err != nil {
		return a, fmt.Errorf("%s: no request without its files: %w", s, err)
	}
	client := s.client(ctx)
	client.CheckRedirect = follow
	if s.metadata != "" {
		a.documentErr = s.learnIssuer(ctx, client)
		if a.documentErr != nil && len(s.Issuers()) == 0 {
			return a, a.documentErr
		}
	}
	var header http.Header
	a.keys, a.fresh = s.keys.Load(), maxRefresh
	if s.discovery != nil {
		var found *location
		found, header, a.documentErr = s.discover(ctx, client)
		switch {
		case a.documentErr == nil:
			a.keys, a.fresh = found, s.freshness(header)
		case a.keys == nil:
			a.retryAfter = retryAfter(header)
			return a, a.documentErr
		default:
			a.retryAfter = retryAfter(header)
		}
		client.CheckRedirect = s.discovery.followKeys
	}
	a.body, header, err = s.get(ctx, client, a.keys, limit)
	if err == nil {
		_, err = Parse(a.body, s.parseOptions(a.keys.name))
	}
	if errors.Is(err, errNotFound) {
		err = fmt.Errorf("%w; give the address of the key set (jwks_uri)", err)
	}
	if err != nil {
		a.retryAfter = max(a.retryAfter, retryAfter(header))
		return a, err
	}
	a.fresh = min(a.fresh, s.freshness(header))
	return a, nil
}

// errNotFound is wrapped by the error about an answer 404.
var errNotFound = errors.New("the server answers 404")

// send requests what is at l. The caller must close the body of the answer.
//
// The request has no condition such as If-Modified-Since or If-None-Match, because servers
// and proxies answer of a key set that was rolled back that it has not changed.
func (s *RemoteSource) send(ctx context.Context, client http.Client, l *location) (*http.Response, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, l.url, nil)
	if err != nil {
		return nil, l.errorf("the URL cannot be requested; correct it")
	}
	r.Header.Set("Accept", "application/jwk-set+json, application/json")
	r.Header.Set("User-Agent", "tokenagent")
	r.Header.Set("Cache-Control", "no-cache") // a proxy must not repeat its cached answer
	if token, ok := s.files.Bearer(); ok && (s.discovery == nil || l.host == s.discovery.host) {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := client.Do(r)
	if err != nil {
		return nil, s.unreachable(l, err)
	}
	return resp, nil
}

// get returns what is at l.
func (s *RemoteSource) get(ctx context.Context, client http.Client, l *location, limit int64) (body []byte, header http.Header, err error) {
	resp, err := s.send(ctx, client, l)
	if err != nil {
		return nil, nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		fix := "correct the address"
		switch code := resp.StatusCode; {
		case code == http.StatusNotFound:
			return nil, resp.Header, fmt.Errorf("%s: %w", l.name, errNotFound)
		case code == http.StatusUnauthorized || code == http.StatusForbidden:
			fix = "give it a token that may read the keys (--jwks-bearer-file, RemoteOptions.BearerFile)"
		case code == http.StatusTooManyRequests || code == http.StatusServiceUnavailable:
			fix = "the agent asks it again later"
		case code >= http.StatusInternalServerError:
			fix = "fix it there"
		}
		return nil, resp.Header, l.errorf("the server answers %d; %s", resp.StatusCode, fix)
	}
	if body, err = io.ReadAll(io.LimitReader(resp.Body, limit+1)); err != nil {
		return nil, nil, s.unreachable(l, err)
	}
	if int64(len(body)) > limit {
		return nil, nil, tooLarge(l.name, limit)
	}
	return body, resp.Header, nil
}

func (l *location) errorf(format string, args ...any) error {
	return errors.New(l.name + ": " + fmt.Sprintf(format, args...))
}

func tooLarge(name string, limit int64) error {
	return fmt.Errorf("%s: %w: over %d bytes; give the address of the key set (jwks_uri)", name, reload.ErrTooLarge, limit)
}

// unreachable returns the error of a request without an answer. It does not use the text
// of net/http, which contains the URL with its query, changing port numbers, and data
// from the server.
func (s *RemoteSource) unreachable(l *location, err error) error {
	netErr, isNet := errors.AsType[net.Error](err)
	_, isName := errors.AsType[*net.DNSError](err)
	_, isUntrusted := errors.AsType[*tls.CertificateVerificationError](err)
	switch {
	case errors.Is(err, errRedirects):
		return l.errorf("%v; give the address that they lead to", errRedirects)
	case errors.Is(err, errDowngrade):
		return l.errorf("%v, where anybody on the way could put keys in; give the https address of the key set", errDowngrade)
	case errors.Is(err, errOtherHost), errors.Is(err, errInternal), errors.Is(err, errNotASCII):
		return l.errorf("%v, which is not followed; give the address of the key set (--jwks-url, Issuer.JWKSURL)", errors.Unwrap(err))
	case isNet && netErr.Timeout():
		return l.errorf("no complete answer within %s; check that the server and the proxy can be reached", s.http.Timeout)
	case isName:
		return l.errorf("the host name cannot be resolved; correct the URL, or fix the DNS")
	case isUntrusted:
		return l.errorf("the server's certificate is not trusted; correct the host, or give its CA (--jwks-ca-file, RemoteOptions.CAFile)")
	case errors.Is(err, syscall.ECONNREFUSED):
		return l.errorf("the connection is refused; check that the server and the proxy run")
	default:
		return l.errorf("no answer in HTTP, or only part of one; check that the URL is that of a web server")
	}
}
