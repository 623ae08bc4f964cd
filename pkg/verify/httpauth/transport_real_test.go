package httpauth_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"reflect"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/tokenagent/tokenagent/pkg/verify"
	"github.com/tokenagent/tokenagent/pkg/verify/httpauth"
)

// TestTransportRetriesOverTheNetwork retries over both versions of HTTP, against a server
// that no longer accepts the first token.
func TestTransportRetriesOverTheNetwork(t *testing.T) {
	var asked atomic.Int64
	v := verify.VerifierFunc(func(ctx context.Context, token string) (*verify.Principal, error) {
		asked.Add(1)
		return (&fake{}).Verify(ctx, token)
	})
	s := serve(t, v, httpauth.Options{})
	large := strings.Repeat("x", 1<<20)
	for major, client := range clients(t) {
		for name, c := range map[string]struct {
			body   io.Reader
			expect bool
			want   string
		}{
			"no body":                 {nil, false, ""},
			"small":                   {strings.NewReader("small"), false, "small"},
			"bytes":                   {bytes.NewReader([]byte("bytes")), false, "bytes"},
			"large, waits for a word": {strings.NewReader(large), true, large},
		} {
			asked.Store(0)
			r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.URL, c.body)
			if err != nil {
				t.Fatal(err)
			}
			base := client.Transport
			if c.expect {
				// The server answers 401 instead of 100, before the client sends the body.
				tr := client.Transport.(*http.Transport).Clone()
				tr.ExpectContinueTimeout = 1 << 40 // not before somebody says so
				t.Cleanup(tr.CloseIdleConnections)
				base = tr
				r.Header.Set("Expect", "100-continue")
			}
			rt := httpauth.Transport(tokens(expired, good), base, httpauth.TransportOptions{Hosts: []string{s.Listener.Addr().String()}})
			resp, err := (&http.Client{Transport: rt}).Do(r)
			if err != nil {
				t.Errorf("HTTP %d, %s: %v", major, name, err)
				continue
			}
			text, err := io.ReadAll(resp.Body)
			resp.Body.Close()
			if want := fmt.Sprintf("token %q []", c.want); err != nil || string(text) != want || asked.Load() != 2 {
				t.Errorf("HTTP %d, %s: %s, %d bytes, %v, asked %d times", major, name, resp.Status, len(text), err, asked.Load())
			}
		}
	}
}

// TestTransportUsesTheConnectionAgain: the retry uses the connection of the refused
// request.
func TestTransportUsesTheConnectionAgain(t *testing.T) {
	s := serve(t, &fake{}, httpauth.Options{})
	for major, client := range clients(t) {
		var reused []bool
		ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{GotConn: func(info httptrace.GotConnInfo) { reused = append(reused, info.Reused) }})
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, s.URL, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		rt := httpauth.Transport(tokens(expired, good), client.Transport, httpauth.TransportOptions{Hosts: []string{s.Listener.Addr().String()}})
		resp, err := rt.RoundTrip(r)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if !slices.Equal(reused, []bool{false, true}) {
			t.Errorf("HTTP %d: connections used again: %t", major, reused)
		}
	}
}

// A body that sets its trailer only at its end.
type trailing struct {
	io.Reader
	trailer http.Header
}

func (b *trailing) Read(p []byte) (int, error) {
	n, err := b.Reader.Read(p)
	if err != nil {
		b.trailer.Set("X-Sum", "42")
	}
	return n, err
}

func TestTransportSendsTrailers(t *testing.T) {
	got := make(chan http.Header, 1)
	s := listen(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		got <- r.Trailer
	}))
	for major, client := range clients(t) {
		trailer := http.Header{"X-Sum": nil}
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.URL, &trailing{strings.NewReader("b"), trailer})
		if err != nil {
			t.Fatal(err)
		}
		r.Trailer = trailer
		resp, err := httpauth.Transport(tokens(good), client.Transport, httpauth.TransportOptions{Hosts: []string{s.Listener.Addr().String()}}).RoundTrip(r)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if h := <-got; !reflect.DeepEqual(h, http.Header{"X-Sum": {"42"}}) {
			t.Errorf("HTTP %d: trailers %v", major, h)
		}
	}
}
