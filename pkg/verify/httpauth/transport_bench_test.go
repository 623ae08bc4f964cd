package httpauth_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/tokenagent/tokenagent/pkg/verify/httpauth"
)

// A mirror answers every request with the same response, which has no body to
// close.
type mirror struct{ resp *http.Response }

func (m mirror) RoundTrip(r *http.Request) (*http.Response, error) {
	m.resp.Request = r
	return m.resp, nil
}

// spend sends r through rt without allocating.
func spend(rt http.RoundTripper, r *http.Request) error {
	resp, err := rt.RoundTrip(r)
	if err == nil {
		err = resp.Body.Close()
	}
	return err
}

func outgoing(tb testing.TB, url string) *http.Request {
	tb.Helper()
	r, err := http.NewRequestWithContext(tb.Context(), http.MethodGet, url, http.NoBody)
	if err != nil {
		tb.Fatal(err)
	}
	r.Header = http.Header{"User-Agent": {"x"}, "Accept": {"*/*"}, "Traceparent": {"00-0-0-00"}, "Content-Type": {"application/json"}}
	return r
}

// BenchmarkTransport measures the transport alone, without a real request. Clone is the
// minimum cost of any transport: it copies the request and its header, and sets one field.
func BenchmarkTransport(b *testing.B) {
	base := mirror{&http.Response{StatusCode: http.StatusOK, Body: http.NoBody}}
	b.Run("Clone", func(b *testing.B) {
		r := outgoing(b, "https://api.example/")
		b.ReportAllocs()
		for b.Loop() {
			sent := *r
			sent.Header = r.Header.Clone()
			sent.Header["Dapr-Api-Token"] = []string{good}
			_ = spend(base, &sent)
		}
	})
	for _, c := range []struct {
		name, url string
		o         httpauth.TransportOptions
	}{
		{"Token", "https://api.example/", to},
		{"Bearer", "https://api.example/", httpauth.TransportOptions{Hosts: to.Hosts, Header: "Authorization"}},
		{"FourthHost", "https://api.example/", httpauth.TransportOptions{Hosts: []string{"a.example", "b.example", "c.example", "api.example"}}},
		{"IPv6", "http://[::1]:3500/", httpauth.TransportOptions{Hosts: []string{"[::1]:3500"}}},
		{"OtherHost", "https://other.example/", to},
	} {
		b.Run(c.name, func(b *testing.B) {
			rt, r := httpauth.Transport(static(good), base, c.o), outgoing(b, c.url)
			b.ReportAllocs()
			for b.Loop() {
				if err := spend(rt, r); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkRequest measures a whole request over loopback, with and without the transport.
func BenchmarkRequest(b *testing.B) {
	s := httptest.NewServer(nothing{})
	defer s.Close()
	bare := &http.Transport{}
	defer bare.CloseIdleConnections()
	for _, c := range []struct {
		name string
		rt   http.RoundTripper
	}{
		{"Bare", bare},
		{"Transport", httpauth.Transport(static(good), bare, httpauth.TransportOptions{Hosts: []string{s.Listener.Addr().String()}})},
	} {
		b.Run(c.name, func(b *testing.B) {
			r := outgoing(b, s.URL)
			b.ReportAllocs()
			for b.Loop() {
				resp, err := c.rt.RoundTrip(r)
				if err != nil {
					b.Fatal(err)
				}
				_, _ = io.Copy(io.Discard, resp.Body)
				_ = resp.Body.Close()
			}
		})
	}
}

// TestTransportAllocations limits the allocations of a request to four: the copies of the
// request, of its header map and of the map's values, and the value of the token's header.
func TestTransportAllocations(t *testing.T) {
	base := mirror{&http.Response{StatusCode: http.StatusOK, Body: http.NoBody}}
	for url, want := range map[string]float64{"https://api.example/": 5, "https://other.example/": 0} {
		rt, r := httpauth.Transport(static(good), base, to), outgoing(t, url)
		if got := testing.AllocsPerRun(100, func() { _ = spend(rt, r) }); got > want {
			t.Errorf("%s: %v allocations, want at most %v", url, got, want)
		}
	}
}
