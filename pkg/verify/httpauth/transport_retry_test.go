package httpauth_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/tokenagent/tokenagent/pkg/verify/httpauth"
)

// TestTransportTriesOnceMore: the transport sends a request again only after a 401 to a
// token that was superseded in the meantime.
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
		status, text, err := exchange(httpauth.Transport(tokens(c.tokens...), w, to), r)
		if err != nil || status != c.final {
			t.Errorf("%s: %d, %v; want %d", name, status, err, c.final)
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
		// The caller gets the whole last response. The transport has read and closed the
		// first one.
		last := len(w.given) - 1
		if text != "the answer" || w.given[last].closed != 1 {
			t.Errorf("%s: the answer is %q, and was closed %d times", name, text, w.given[last].closed)
		}
		for _, b := range w.given[:last] {
			if rest, _ := io.ReadAll(b); b.closed != 1 || len(rest) != 0 {
				t.Errorf("%s: of the first answer %d bytes are left; closed %d times", name, len(rest), b.closed)
			}
		}
	}
}

// TestTransportTriesEveryMethodOnceMore: a 401 means that the request was not carried out,
// whatever its method.
func TestTransportTriesEveryMethodOnceMore(t *testing.T) {
	for _, method := range []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "REPORT"} {
		w := &wire{status: []int{http.StatusUnauthorized, http.StatusOK}}
		r, _ := post(t, "https://api.example/", "b", true)
		r.Method = method
		status, _, err := exchange(httpauth.Transport(tokens("one", "two"), w, to), r)
		if err != nil || status != http.StatusOK {
			t.Errorf("%s: %d, %v", method, status, err)
		}
		if len(w.sent) != 2 || w.sent[1].Method != method {
			t.Errorf("%s: %d requests sent, want 2 with this method", method, len(w.sent))
		}
	}
}

func TestTransportReadsLittleOfARefusal(t *testing.T) {
	var read zeros
	endless := &tracked{Reader: &read}
	base := roundTripper(func(r *http.Request) (*http.Response, error) {
		if r.Header.Get("Dapr-Api-Token") == "one" {
			return &http.Response{StatusCode: http.StatusUnauthorized, Body: endless}, nil
		}
		return &http.Response{StatusCode: http.StatusOK, Body: http.NoBody}, nil
	})
	r, _ := post(t, "https://api.example/", "b", true)
	status, _, err := exchange(httpauth.Transport(tokens("one", "two"), base, to), r)
	if err != nil || status != http.StatusOK {
		t.Errorf("%d, %v", status, err)
	}
	if endless.closed != 1 {
		t.Errorf("the refusal's body was closed %d times, want once", endless.closed)
	}
	if read > 64<<10 {
		t.Errorf("%d bytes of the refusal were read, want 64 KiB at most", read)
	}
}

// A zeros is an endless body that counts the bytes read.
type zeros int

func (z *zeros) Read(b []byte) (int, error) {
	*z += zeros(len(b))
	return len(b), nil
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func TestTransportErrorsOfBase(t *testing.T) {
	boom := errors.New("boom")
	w := &wire{err: boom}
	r, body := post(t, "https://api.example/", "b", true)
	if status, _, err := exchange(httpauth.Transport(tokens("one", "two"), w, to), r); status != 0 || !errors.Is(err, boom) {
		t.Errorf("%d, %v; want the error of base", status, err)
	}
	if len(w.sent) != 1 || body.closed == 0 {
		t.Errorf("%d requests sent, body closed %d times; want one request and a closed body", len(w.sent), body.closed)
	}
	// Also if the second attempt fails, and if base returns neither response nor error.
	n := 0
	base := roundTripper(func(r *http.Request) (*http.Response, error) {
		if n++; n == 1 {
			return &http.Response{StatusCode: http.StatusUnauthorized}, nil
		}
		return nil, boom
	})
	if status, _, err := exchange(httpauth.Transport(tokens("one", "two"), base, to), r); status != 0 || !errors.Is(err, boom) || n != 2 {
		t.Errorf("%d, %v after %d", status, err, n)
	}
	nothing := roundTripper(func(*http.Request) (*http.Response, error) { return nil, nil })
	if status, _, err := exchange(httpauth.Transport(tokens(good), nothing, to), r); status != 0 || err != nil {
		t.Errorf("%d, %v", status, err)
	}
}

// TestTransportRespectsTheContext: no request is sent again after its context has ended.
func TestTransportRespectsTheContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	sent := 0
	base := roundTripper(func(r *http.Request) (*http.Response, error) {
		sent++
		cancel()
		return &http.Response{StatusCode: http.StatusUnauthorized, Body: http.NoBody}, nil
	})
	r, _ := post(t, "https://api.example/", "b", true)
	status, _, err := exchange(httpauth.Transport(tokens("one", "two"), base, to), r.WithContext(ctx))
	if err != nil || status != http.StatusUnauthorized || sent != 1 {
		t.Errorf("%v after %d", err, sent)
	}
	// The transport stops reading an endless refusal when the context ends.
	s := listen(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.WriteHeader(http.StatusUnauthorized)
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	}))
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
		if err := roundTrip(rt, r.WithContext(ctx)); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		cancel()
	}
}
