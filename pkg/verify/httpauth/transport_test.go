package httpauth_test

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/tokenagent/tokenagent/pkg/verify"
	"github.com/tokenagent/tokenagent/pkg/verify/httpauth"
)

// A sourceFunc is a TokenSource.
type sourceFunc func() (string, error)

func (f sourceFunc) Token() (string, error) { return f() }

// tokens returns a source that returns the tokens of list in order, then the last one
// again and again.
func tokens(list ...string) sourceFunc {
	var mu sync.Mutex
	return func() (string, error) {
		mu.Lock()
		defer mu.Unlock()
		token := list[0]
		list = list[min(1, len(list)-1):]
		return token, nil
	}
}

// A wire is a RoundTripper that records the requests. It answers with its statuses in
// order, then with the last one again and again.
type wire struct {
	status []int
	err    error

	mu     sync.Mutex
	sent   []*http.Request
	bodies []string   // of the requests
	given  []*tracked // with the answers
	idle   int
}

func (w *wire) RoundTrip(r *http.Request) (*http.Response, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	var body []byte
	if r.Body != nil {
		body, _ = io.ReadAll(r.Body)
		_ = r.Body.Close()
	}
	w.sent, w.bodies = append(w.sent, r), append(w.bodies, string(body))
	if w.err != nil {
		return nil, w.err
	}
	status := http.StatusOK
	if len(w.status) > 0 {
		status = w.status[min(len(w.sent), len(w.status))-1]
	}
	answer := &tracked{Reader: strings.NewReader("the answer")}
	w.given = append(w.given, answer)
	return &http.Response{StatusCode: status, Body: answer, ContentLength: 10, Header: http.Header{}, Request: r}, nil
}

func (w *wire) CloseIdleConnections() { w.idle++ }

// tokens returns the values of the header that the requests were sent with.
func (w *wire) tokens(header string) []string {
	var got []string
	for _, r := range w.sent {
		got = append(got, strings.Join(r.Header.Values(header), "|"))
	}
	return got
}

// A tracked body counts how often it was closed.
type tracked struct {
	io.Reader
	closed int
}

func (b *tracked) Close() error {
	b.closed++
	return nil
}

var to = httpauth.TransportOptions{Hosts: []string{"api.example"}}

// post returns a request with a body. If again is true, GetBody can repeat the body.
func post(t *testing.T, url, body string, again bool) (*http.Request, *tracked) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	b := &tracked{Reader: strings.NewReader(body)}
	r.Body, r.ContentLength, r.GetBody = b, int64(len(body)), nil
	if again {
		r.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(body)), nil }
	}
	return r, b
}

// exchange sends r through rt and reads the response, whose Request must be r. The status
// is 0 if there is no response.
func exchange(rt http.RoundTripper, r *http.Request) (status int, text string, err error) {
	resp, err := rt.RoundTrip(r)
	if resp == nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	b, readErr := io.ReadAll(resp.Body)
	if resp.Request != r {
		readErr = errors.New("the response's Request is not the caller's")
	}
	return resp.StatusCode, string(b), errors.Join(err, readErr)
}

// roundTrip sends r through rt like exchange, and returns only the error.
func roundTrip(rt http.RoundTripper, r *http.Request) error {
	_, _, err := exchange(rt, r)
	return err
}

func TestTransportAsksForEachRequest(t *testing.T) {
	for header, want := range map[string]struct {
		key    string
		values []string
	}{
		"":              {"Dapr-Api-Token", []string{"one", "two", "three"}},
		"x-aPI-key":     {"X-Api-Key", []string{"one", "two", "three"}},
		"authorization": {"Authorization", []string{"Bearer one", "Bearer two", "Bearer three"}},
	} {
		w := &wire{}
		rt := httpauth.Transport(tokens("one", "two", "three"), w, httpauth.TransportOptions{Hosts: to.Hosts, Header: header})
		for range 3 {
			r, _ := post(t, "https://api.example/", "", false)
			if err := roundTrip(rt, r); err != nil {
				t.Fatal(err)
			}
		}
		if got := w.tokens(want.key); !slices.Equal(got, want.values) {
			t.Errorf("Header %q: sent %q, want %q", header, got, want.values)
		}
	}
}

func TestTransportReachesAMiddleware(t *testing.T) {
	s := serve(t, &fake{}, httpauth.Options{})
	for major, client := range clients(t) {
		for _, header := range []string{"", "Authorization"} {
			rt := httpauth.Transport(tokens(good), client.Transport, httpauth.TransportOptions{Hosts: []string{s.Listener.Addr().String()}, Header: header})
			r, _ := post(t, s.URL, "sent", false)
			resp, err := (&http.Client{Transport: rt}).Do(r)
			if err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(resp.Body)
			resp.Body.Close()
			if err != nil || string(got) != `token "sent" []` || resp.ProtoMajor != major {
				t.Errorf("HTTP %d, Header %q: %s %q, %v", major, header, resp.Status, got, err)
			}
		}
	}
}

func TestTransportLeavesTheRequestAlone(t *testing.T) {
	w := &wire{}
	rt := httpauth.Transport(tokens(good), w, to)
	r, _ := post(t, "https://api.example/", "b", true)
	r.Header = http.Header{"Dapr-Api-Token": {"the caller's"}, "dapr-api-token": {"another"}, "DAPR-API-TOKEN": {"third"}, "X": {"1", "2"}, "Authorization": {"Basic dTpw"}}
	before, header := *r, r.Header.Clone()
	if err := roundTrip(rt, r); err != nil {
		t.Fatal(err)
	}
	before.GetBody, r.GetBody = nil, nil // funcs are never deeply equal
	if !reflect.DeepEqual(*r, before) || !reflect.DeepEqual(r.Header, header) {
		t.Errorf("the request was changed: %v", r)
	}
	want := http.Header{"Dapr-Api-Token": {good}, "X": {"1", "2"}, "Authorization": {"Basic dTpw"}}
	if got := w.sent[0].Header; !reflect.DeepEqual(got, want) {
		t.Errorf("sent %v, want %v", slices.Sorted(maps.Keys(got)), slices.Sorted(maps.Keys(want)))
	}
	// A base that modifies the request modifies only its own copy.
	w.sent[0].Header["X"][0] = "changed"
	if r.Header["X"][0] != "1" {
		t.Error("the header's values are shared with base")
	}
	// Header and URL may be missing.
	r.Header = nil
	if err := roundTrip(rt, r); err != nil || w.sent[1].Header.Get("Dapr-Api-Token") != good || r.Header != nil {
		t.Errorf("without a header: %v", err)
	}
	r.URL = nil
	if err := roundTrip(rt, r); err != nil || w.sent[2] != r {
		t.Errorf("without a URL: %v, want the error of base", err)
	}
}

func TestTransportWithoutAToken(t *testing.T) {
	boom := errors.New("boom")
	for name, c := range map[string]struct {
		src  sourceFunc
		want error
	}{
		"not loaded": {func() (string, error) { return "", fmt.Errorf("agent: %w", verify.ErrUnavailable) }, verify.ErrUnavailable},
		"broken":     {func() (string, error) { return good, boom }, boom},
		"empty":      {tokens(""), verify.ErrUnavailable},
	} {
		w := &wire{}
		r, body := post(t, "https://api.example/", "b", true)
		resp, err := (&http.Client{Transport: httpauth.Transport(c.src, w, to)}).Do(r)
		if err == nil {
			resp.Body.Close()
			t.Fatalf("%s: sent", name)
		}
		if !errors.Is(err, c.want) || !strings.Contains(err.Error(), "httpauth: ") || strings.Contains(err.Error(), "canary") {
			t.Errorf("%s: %v", name, err)
		}
		if len(w.sent) != 0 || body.closed == 0 {
			t.Errorf("%s: %d sent, body closed %d times", name, len(w.sent), body.closed)
		}
		// Requests to other hosts need no token.
		r, _ = post(t, "https://other.example/", "b", true)
		if err := roundTrip(httpauth.Transport(c.src, w, to), r); err != nil || len(w.sent) != 1 {
			t.Errorf("%s, another host: %v", name, err)
		}
	}
}

func TestTransportCloseIdleConnections(t *testing.T) {
	w := &wire{}
	(&http.Client{Transport: httpauth.Transport(tokens(good), w, to)}).CloseIdleConnections()
	if w.idle != 1 {
		t.Errorf("passed on %d times", w.idle)
	}
	// A base without the method, and the default base.
	(&http.Client{Transport: httpauth.Transport(tokens(good), struct{ http.RoundTripper }{w}, to)}).CloseIdleConnections()
	(&http.Client{Transport: httpauth.Transport(tokens(good), nil, to)}).CloseIdleConnections()
}

func TestTransportDefaultBase(t *testing.T) {
	s := httptest.NewServer(httpauth.Middleware(&fake{}, httpauth.Options{})(http.NotFoundHandler()))
	defer s.Close()
	defer http.DefaultClient.CloseIdleConnections()
	r, _ := post(t, s.URL, "", false)
	status, _, err := exchange(httpauth.Transport(tokens(good), nil, httpauth.TransportOptions{Hosts: []string{s.Listener.Addr().String()}}), r)
	if err != nil || status != http.StatusNotFound {
		t.Error(status, err)
	}
}

func TestTransportValidate(t *testing.T) {
	if err := (httpauth.TransportOptions{Hosts: []string{"a", "b:1", "[::1]:2"}, Header: "X-Key", AllowPlaintext: true}).Validate(); err != nil {
		t.Error(err)
	}
	for want, o := range map[string]httpauth.TransportOptions{
		"httpauth: Hosts is empty":           {},
		"httpauth: Hosts[1] is not a host":   {Hosts: []string{"a", "https://canary"}},
		"httpauth: Header is not a field":    {Hosts: to.Hosts, Header: "dapr-api-token: canary"},
		"httpauth: Header belongs to the tr": {Hosts: []string{"canary/"}, Header: "Host"},
	} {
		err := o.Validate()
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "canary") {
			t.Errorf("%+v: %v, want %q", o, err, want)
		}
		for _, src := range []verify.TokenSource{tokens(good), nil} {
			func() {
				defer func() {
					if recover() == nil {
						t.Errorf("%+v, %T: no panic", o, src)
					}
				}()
				httpauth.Transport(src, nil, o)
			}()
		}
	}
	defer func() {
		if recover() == nil {
			t.Error("nil source: no panic")
		}
	}()
	httpauth.Transport(nil, nil, to)
}

func TestTransportOptionsAreCopied(t *testing.T) {
	o, w := httpauth.TransportOptions{Hosts: []string{"api.example"}}, &wire{}
	rt := httpauth.Transport(tokens(good), w, o)
	o.Hosts[0] = "evil.example"
	r, _ := post(t, "https://evil.example/", "", false)
	if err := roundTrip(rt, r); err != nil || w.tokens("Dapr-Api-Token")[0] != "" {
		t.Errorf("the transport sees a later change of Hosts: %v", err)
	}
}
