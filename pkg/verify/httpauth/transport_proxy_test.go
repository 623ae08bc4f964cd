package httpauth_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/tokenagent/tokenagent/pkg/verify/httpauth"
)

// TestTransportSendsNoPlaintextToAProxy: a proxy could read the token of a plain HTTP
// request, even if the host is loopback.
func TestTransportSendsNoPlaintextToAProxy(t *testing.T) {
	t.Parallel()
	proxy := http.ProxyURL(&url.URL{Scheme: "http", Host: "127.0.0.1:1"})
	get := func(o httpauth.TransportOptions, address string) error {
		base := &http.Transport{Proxy: proxy}
		defer base.CloseIdleConnections()
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, address, nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := httpauth.Transport(fixed("a-token-of-many-bytes"), base, o).RoundTrip(r)
		if err == nil {
			_ = resp.Body.Close()
		}
		return err
	}
	plain := "in plain text"
	if err := get(httpauth.TransportOptions{Hosts: []string{"127.0.0.1"}}, "http://127.0.0.1/"); err == nil || !strings.Contains(err.Error(), plain) {
		t.Errorf("loopback: %v", err)
	}
	// An allowed request fails only because there is no proxy.
	if err := get(httpauth.TransportOptions{Hosts: []string{"127.0.0.1"}, AllowPlaintext: true}, "http://127.0.0.1/"); err == nil || strings.Contains(err.Error(), plain) {
		t.Errorf("AllowPlaintext: %v", err)
	}
	if err := get(httpauth.TransportOptions{Hosts: []string{"example.com"}}, "https://example.com/"); err == nil || strings.Contains(err.Error(), plain) {
		t.Errorf("https, which the proxy cannot read: %v", err)
	}
}

// fixed is a TokenSource that always knows the same token.
type fixed string

func (f fixed) Token() (string, error) { return string(f), nil }
