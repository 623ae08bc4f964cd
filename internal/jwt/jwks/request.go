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
	c.CheckRedirect = follow
	return c
}

// client returns the client for the next request. If the options have no transport, each
// request gets a new one, so that it uses the current CAs, and no connection outlives the
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

// fetch makes one request and returns a valid key set and the header of the answer. The
// error names the source and says how to fix it, and never quotes the answer.
//
// The request has no condition such as If-Modified-Since or If-None-Match, because servers
// and proxies answer of a key set that was rolled back that it has not changed.
func (s *RemoteSource) fetch(ctx context.Context, limit int64) (body []byte, header http.Header, err error) {
	if err := s.files.Missing(); err != nil {
		return nil, nil, fmt.Errorf("%s: no request without its files: %w", s.name, err)
	}
	if s.metadata != "" {
		if err := s.learnIssuer(ctx); err != nil {
			return nil, nil, err
		}
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, s.url, nil)
	if err != nil {
		return nil, nil, s.errorf("the URL cannot be requested; correct it")
	}
	r.Header.Set("Accept", "application/jwk-set+json, application/json")
	r.Header.Set("User-Agent", "tokenagent")
	r.Header.Set("Cache-Control", "no-cache") // a proxy must not repeat its cached answer
	if token, ok := s.files.Bearer(); ok {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	client := s.client(ctx)
	resp, err := client.Do(r)
	if err != nil {
		return nil, nil, s.unreachable(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		fix := "give the address of the key set (jwks_uri)"
		switch code := resp.StatusCode; {
		case code == http.StatusUnauthorized || code == http.StatusForbidden:
			fix = "give it a token that may read the keys (--jwks-bearer-file, RemoteOptions.BearerFile)"
		case code == http.StatusTooManyRequests || code == http.StatusServiceUnavailable:
			fix = "the agent asks it again later"
		case code >= http.StatusInternalServerError:
			fix = "fix it there"
		}
		return nil, resp.Header, s.errorf("the server answers %d; %s", resp.StatusCode, fix)
	}
	if body, err = io.ReadAll(io.LimitReader(resp.Body, limit+1)); err != nil {
		return nil, nil, s.unreachable(err)
	}
	if int64(len(body)) > limit {
		return nil, nil, s.tooLarge(limit)
	}
	_, err = Parse(body, s.ParseOptions())
	return body, resp.Header, err
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
		return s.errorf("%v; give the address that they lead to", errRedirects)
	case errors.Is(err, errDowngrade):
		return s.errorf("%v, where anybody on the way could put keys in; give the https address of the key set", errDowngrade)
	case isNet && netErr.Timeout():
		return s.errorf("no complete answer within %s; check that the server and the proxy can be reached", s.http.Timeout)
	case isName:
		return s.errorf("the host name cannot be resolved; correct the URL, or fix the DNS")
	case isUntrusted:
		return s.errorf("the server's certificate is not trusted; correct the host, or give its CA (--jwks-ca-file, RemoteOptions.CAFile)")
	case errors.Is(err, syscall.ECONNREFUSED):
		return s.errorf("the connection is refused; check that the server and the proxy run")
	default:
		return s.errorf("no answer in HTTP, or only part of one; check that the URL is that of a web server")
	}
}
