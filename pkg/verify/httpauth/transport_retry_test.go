package httpauth_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"reflect"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/tokenagent/tokenagent/pkg/verify"
	"github.com/tokenagent/tokenagent/pkg/verify/httpauth"
)

// TestTransportTriesOnceMore: after a 401 to a token that was superseded
// meanwhile, and after nothing else.
func TestTransportTriesOnceMore(t *testing.T) {
	const refused, ok = http.StatusUnauthorized, http.StatusOK
	again := func(r *http.Request) {
		r.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader("b")), nil }
	}
	without := func(body io.ReadCloser) func(*http.Request) {
		return func(r *http.Request) { r.Body, r.ContentLength = body, 0 }
	}
	for name, c := range map[string]struct {
		tokens []string
		status []int
		body   func(*http.Request)
		sent   []string
		final  int
	}{
		"accepted":                     {[]string{"one", "two"}, []int{ok}, again, []string{"one b"}, ok},
		"superseded":                   {[]string{"one", "two"}, []int{refused, ok}, again, []string{"one b", "two b"}, ok},
		"superseded, no body":          {[]string{"one", "two"}, []int{refused, ok}, without(nil), []string{"one ", "two "}, ok},
		"superseded, http.NoBody":      {[]string{"one", "two"}, []int{refused, ok}, without(http.NoBody), []string{"one ", "two "}, ok},
		"superseded, and refused":      {[]string{"one", "two"}, []int{refused, refused}, again, []string{"one b", "two b"}, refused},
		"superseded twice":             {[]string{"one", "two", "three"}, []int{refused, refused, ok}, again, []string{"one b", "two b"}, refused},
		"then something else":          {[]string{"one", "two"}, []int{refused, 503}, again, []string{"one b", "two b"}, 503},
		"the same token":               {[]string{"one"}, []int{refused, ok}, again, []string{"one b"}, refused},
		"no token any more":            {[]string{"one", ""}, []int{refused, ok}, again, []string{"one b"}, refused},
		"forbidden":                    {[]string{"one", "two"}, []int{403, ok}, again, []string{"one b"}, 403},
		"unavailable":                  {[]string{"one", "two"}, []int{503, ok}, again, []string{"one b"}, 503},
		"a proxy's refusal":            {[]string{"one", "two"}, []int{407, ok}, again, []string{"one b"}, 407},
		"a body that is gone":          {[]string{"one", "two"}, []int{refused, ok}, func(*http.Request) {}, []string{"one b"}, refused},
		"a body that cannot come back": {[]string{"one", "two"}, []int{refused, ok}, func(r *http.Request) { r.GetBody = func() (io.ReadCloser, error) { return nil, errors.New("gone") } }, []string{"one b"}, refused},
		"a body that comes back nil":   {[]string{"one", "two"}, []int{refused, ok}, func(r *http.Request) { r.GetBody = func() (io.ReadCloser, error) { return nil, nil } }, []string{"one b"}, refused},
		"trailers":                     {[]string{"one", "two"}, []int{refused, ok}, func(r *http.Request) { again(r); r.Trailer = http.Header{"X": nil} }, []string{"one b"}, refused},
	} {
		w := &wire{status: c.status}
		r, body := post(t, "https://api.example/", "b", false)
		c.body(r)
		resp, err := httpauth.Transport(tokens(c.tokens...), w, to).RoundTrip(r)
		if err != nil || resp.StatusCode != c.final || resp.Request != r {
			t.Errorf("%s: %v, %v; want %d", name, resp, err, c.final)
			continue
		}
		var sent []string
		for i, token := range w.tokens("Dapr-Api-Token") {
			sent = append(sent, token+" "+w.bodies[i])
		}
		if !slices.Equal(sent, c.sent) {
			t.Errorf("%s: sent %q, want %q", name, sent, c.sent)
		}
		if (r.Body == body) != (body.closed > 0) {
			t.Errorf("%s: the request's body was closed %d times", name, body.closed)
		}
		// The answer that counts is whole; one before it is read and closed.
		last := len(w.given) - 1
		if text, err := io.ReadAll(resp.Body); string(text) != "the answer" || err != nil || w.given[last].closed != 0 {
			t.Errorf("%s: the answer is %q, %v", name, text, err)
		}
		for _, b := range w.given[:last] {
			if rest, _ := io.ReadAll(b); b.closed != 1 || len(rest) != 0 {
				t.Errorf("%s: of the first answer %d bytes are left; closed %d times", name, len(rest), b.closed)
			}
		}
	}
}

// TestTransportTriesEveryMethodOnceMore: a 401 says that none was carried out.
func TestTransportTriesEveryMethodOnceMore(t *testing.T) {
	for _, method := range []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "REPORT"} {
		w := &wire{status: []int{401, 200}}
		r, _ := post(t, "https://api.example/", "b", true)
		r.Method = method
		resp, err := httpauth.Transport(tokens("one", "two"), w, to).RoundTrip(r)
		if err != nil || resp.StatusCode != 200 || len(w.sent) != 2 || w.sent[1].Method != method {
			t.Errorf("%s: %v after %d", method, err, len(w.sent))
		}
	}
}

func TestTransportReadsLittleOfARefusal(t *testing.T) {
	endless := &tracked{Reader: zeros{}}
	base := roundTripper(func(r *http.Request) (*http.Response, error) {
		if r.Header.Get("Dapr-Api-Token") == "one" {
			return &http.Response{StatusCode: http.StatusUnauthorized, Body: endless}, nil
		}
		return &http.Response{StatusCode: http.StatusOK}, nil
	})
	r, _ := post(t, "https://api.example/", "b", true)
	resp, err := httpauth.Transport(tokens("one", "two"), base, to).RoundTrip(r)
	if err != nil || resp.StatusCode != http.StatusOK || endless.closed != 1 {
		t.Errorf("%v, closed %d times", err, endless.closed)
	}
}

type zeros struct{}

func (zeros) Read(b []byte) (int, error) { return len(b), nil }

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func TestTransportErrorsOfBase(t *testing.T) {
	boom := errors.New("boom")
	w := &wire{err: boom}
	r, body := post(t, "https://api.example/", "b", true)
	if resp, err := httpauth.Transport(tokens("one", "two"), w, to).RoundTrip(r); resp != nil || !errors.Is(err, boom) || len(w.sent) != 1 || body.closed == 0 {
		t.Errorf("%v, %v after %d", resp, err, len(w.sent))
	}
	// Likewise where the second one fails, and where base answers nothing.
	n := 0
	base := roundTripper(func(r *http.Request) (*http.Response, error) {
		if n++; n == 1 {
			return &http.Response{StatusCode: http.StatusUnauthorized}, nil
		}
		return nil, boom
	})
	if resp, err := httpauth.Transport(tokens("one", "two"), base, to).RoundTrip(r); resp != nil || !errors.Is(err, boom) || n != 2 {
		t.Errorf("%v, %v after %d", resp, err, n)
	}
	if resp, err := httpauth.Transport(tokens(good), roundTripper(func(*http.Request) (*http.Response, error) { return nil, nil }), to).RoundTrip(r); resp != nil || err != nil {
		t.Errorf("%v, %v", resp, err)
	}
}

// TestTransportRespectsTheContext: nobody waits for a second try any more.
func TestTransportRespectsTheContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	sent := 0
	base := roundTripper(func(r *http.Request) (*http.Response, error) {
		sent++
		cancel()
		return &http.Response{StatusCode: http.StatusUnauthorized, Body: http.NoBody}, nil
	})
	r, _ := post(t, "https://api.example/", "b", true)
	resp, err := httpauth.Transport(tokens("one", "two"), base, to).RoundTrip(r.WithContext(ctx))
	if err != nil || resp.StatusCode != http.StatusUnauthorized || sent != 1 {
		t.Errorf("%v after %d", err, sent)
	}
	// And a refusal that never ends is left when the context is.
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.WriteHeader(http.StatusUnauthorized)
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	}))
	s.Config.Protocols = protocols(true, true)
	s.Start()
	defer s.Close()
	for _, client := range clients(t) {
		ctx, cancel := context.WithCancel(t.Context())
		n := 0
		src := sourceFunc(func() (string, error) {
			if n++; n > 1 {
				cancel()
			}
			return fmt.Sprint("token ", n), nil
		})
		r, _ := post(t, s.URL, "b", true)
		rt := httpauth.Transport(src, client.Transport, httpauth.TransportOptions{Hosts: []string{s.Listener.Addr().String()}})
		resp, err := rt.RoundTrip(r.WithContext(ctx))
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%v, %v", resp, err)
		}
		cancel()
	}
}

// TestTransportTriesOnceMoreForReal: over both versions of HTTP, against a
// server that has just dropped the token that it is sent first.
func TestTransportTriesOnceMoreForReal(t *testing.T) {
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
				// The 401 comes instead of the 100, before any of the body.
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

// TestTransportUsesTheConnectionAgain: a refusal that is thrown away does not
// throw away its connection.
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

// A body that knows its trailer only when it has been read.
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
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		got <- r.Trailer
	}))
	s.Config.Protocols = protocols(true, true)
	s.Start()
	t.Cleanup(s.Close)
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
