package httpauth_test

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"reflect"
	"strings"
	"sync"
	"testing"

	"github.com/tokenagent/tokenagent/pkg/verify/httpauth"
)

const plaintext = "plain text"

// TestTransportHosts: the token is sent only to Hosts, and in plain text only if that is
// allowed.
func TestTransportHosts(t *testing.T) {
	hosts := []string{"api.example", "alt.example:8443", "localhost:3500", "127.0.0.1:3500", "[::1]:3500", "127.7.7.7", "10.0.0.1:80"}
	for url, want := range map[string]string{
		"https://api.example/":           good,
		"https://API.example:443/x?y":    good,
		"https://alt.example:8443/":      good,
		"https://alt.example/":           "",
		"https://api.example:8443/":      "",
		"https://api.example.evil/":      "",
		"https://evil.example/":          "",
		"https://api.example@evil.test/": "",
		"https://evil@api.example/":      good,
		"http://api.example/":            plaintext,
		"http://API.EXAMPLE:80/":         plaintext,
		"http://api.example:443/":        "",
		"http://10.0.0.1/":               plaintext,
		"http://localhost:3500/":         good,
		"http://LOCALHOST:3500/":         good,
		"http://127.0.0.1:3500/":         good,
		"http://127.7.7.7/":              good,
		"http://[::1]:3500/":             good,
		"http://[0:0::1]:3500/":          good,
		"http://localhost/":              "",
		"http://localhost.:3500/":        "",
		"http://127.0.0.1:3501/":         "",
		"http://127.1:3500/":             "",
		"ftp://alt.example:8443/":        plaintext,
		"unix://localhost:3500/":         good, // whatever base takes it for, it is here
		"//localhost:3500/":              good,
		"/":                              "",
	} {
		for _, allow := range []bool{false, true} {
			w := &wire{}
			rt := httpauth.Transport(tokens(good), w, httpauth.TransportOptions{Hosts: hosts, AllowPlaintext: allow})
			r, body := post(t, url, "b", false)
			r.Host = "api.example" // decides nothing
			if want == "" {
				r.Host = "localhost:3500"
			}
			err := roundTrip(rt, r)
			if want == plaintext && !allow {
				if err == nil || !strings.Contains(err.Error(), "AllowPlaintext") {
					t.Errorf("%s: %v, want an error that names AllowPlaintext", url, err)
				}
				if len(w.sent) != 0 {
					t.Errorf("%s: %d requests sent, want none", url, len(w.sent))
				}
				if body.closed == 0 {
					t.Errorf("%s: the body is not closed", url)
				}
				continue
			}
			token := map[string]string{plaintext: good, good: good}[want]
			if err != nil || len(w.sent) != 1 || w.sent[0].Header.Get("Dapr-Api-Token") != token {
				t.Errorf("%s, AllowPlaintext %t: sent %q, %v; want %q", url, allow, w.tokens("Dapr-Api-Token"), err, token)
			}
		}
	}
}

// TestTransportLeavesOtherHostsAlone: a request to another host is sent unchanged, with
// the header that the caller set.
func TestTransportLeavesOtherHostsAlone(t *testing.T) {
	w := &wire{status: []int{http.StatusUnauthorized}}
	asked := 0
	src := sourceFunc(func() (string, error) { asked++; return good, nil })
	r, _ := post(t, "https://other.example/", "b", true)
	r.Header.Set("Dapr-Api-Token", "the caller's")
	resp, err := httpauth.Transport(src, w, to).RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusUnauthorized {
		t.Errorf("answer %s, want the other host's 401", resp.Status)
	}
	if len(w.sent) != 1 || w.sent[0] != r {
		t.Errorf("%d requests sent, want the caller's own and no other", len(w.sent))
	}
	if got := r.Header.Get("Dapr-Api-Token"); got != "the caller's" {
		t.Errorf("the caller's header is now %q", got)
	}
	if asked != 0 {
		t.Errorf("the source was asked %d times, want 0", asked)
	}
}

// named returns a transport that connects each name to the server given for it.
func named(t *testing.T, servers map[string]*httptest.Server) *http.Transport {
	t.Helper()
	tr := &http.Transport{
		DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			s, ok := servers[addr]
			if !ok {
				return nil, errors.New("no such server: " + addr)
			}
			return (&net.Dialer{}).DialContext(ctx, network, s.Listener.Addr().String())
		},
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true},
	}
	t.Cleanup(tr.CloseIdleConnections)
	return tr
}

// TestTransportRedirects follows redirects between hosts with an http.Client.
func TestTransportRedirects(t *testing.T) {
	var mu sync.Mutex
	var seen []string
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		seen = append(seen, strings.TrimSuffix(r.Host, ".example")+" "+r.Header.Get("Dapr-Api-Token")+r.Header.Get("Authorization"))
		mu.Unlock()
		_, _ = io.Copy(io.Discard, r.Body)
		if to := r.URL.Query()["to"]; len(to) > 0 {
			next := to[0]
			if len(to) > 1 {
				next += "?" + url.Values{"to": to[1:]}.Encode()
			}
			http.Redirect(w, r, next, map[string]int{"GET": http.StatusFound, "POST": http.StatusTemporaryRedirect}[r.Method])
		}
	})
	plain, secure := httptest.NewServer(handler), httptest.NewTLSServer(handler)
	t.Cleanup(plain.Close)
	t.Cleanup(secure.Close)
	base := named(t, map[string]*httptest.Server{"a.example:443": secure, "b.example:443": secure, "sub.a.example:443": secure, "a.example:80": plain})
	for _, header := range []string{"", "Authorization"} {
		value := map[string]string{"": good, "Authorization": "Bearer " + good}[header]
		client := &http.Client{Transport: httpauth.Transport(tokens(good), base, httpauth.TransportOptions{Hosts: []string{"a.example"}, Header: header})}
		for name, c := range map[string]struct {
			start string
			to    []string
			want  []string
			err   string
		}{
			"away":            {"https://a.example/", []string{"https://b.example/"}, []string{"a " + value, "b "}, ""},
			"to a subdomain":  {"https://a.example/", []string{"https://sub.a.example/"}, []string{"a " + value, "sub.a "}, ""},
			"away and back":   {"https://a.example/", []string{"https://b.example/", "https://a.example/2"}, []string{"a " + value, "b ", "a " + value}, ""},
			"here":            {"https://b.example/", []string{"https://a.example/"}, []string{"b ", "a " + value}, ""},
			"within":          {"https://a.example/", []string{"/2"}, []string{"a " + value, "a " + value}, ""},
			"into plain text": {"https://a.example/", []string{"http://a.example/"}, []string{"a " + value}, "AllowPlaintext"},
		} {
			for _, method := range []string{http.MethodGet, http.MethodPost} {
				seen = nil
				r, err := http.NewRequestWithContext(t.Context(), method, c.start+"?"+url.Values{"to": c.to}.Encode(), strings.NewReader("body"))
				if err != nil {
					t.Fatal(err)
				}
				resp, err := client.Do(r)
				if err == nil {
					resp.Body.Close()
				}
				if (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
					t.Errorf("%s, %s: %v", name, method, err)
				}
				if !reflect.DeepEqual(seen, c.want) {
					t.Errorf("%s, %s: seen %q, want %q", name, method, seen, c.want)
				}
				for hop := resp; hop != nil; hop = hop.Request.Response {
					if said := fmt.Sprintf("%v %v", hop.Request.Header, hop.Header); strings.Contains(said, "canary") {
						t.Errorf("%s, %s: a response shows the token: %s", name, method, said)
					}
				}
			}
		}
	}
}

// TestP7_TransportShowsNoToken prints a transport with every verb, alone and as a field of
// other values.
func TestP7_TransportShowsNoToken(t *testing.T) {
	rt := httpauth.Transport(static(good), &wire{status: []int{http.StatusUnauthorized}}, to)
	client := &http.Client{Transport: rt}
	hidden := struct{ rt http.RoundTripper }{rt}
	var said strings.Builder
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%d", "%q", "%x"} {
		_, _ = fmt.Fprintf(&said, verb+verb+verb+verb, rt, client, hidden, &hidden)
	}
	if got := fmt.Sprintf("%#v", rt); got != "httpauth.Transport" {
		t.Errorf("printed as %s", got)
	}
	b, err := json.Marshal(rt)
	_, _ = fmt.Fprintf(&said, "%s %v", b, err)
	for _, url := range []string{"https://api.example/", "http://api.example/", "https://x/"} {
		r, _ := post(t, url, "b", false)
		resp, err := client.Do(r)
		_, _ = fmt.Fprintf(&said, "%+v %v %+v", resp, err, r)
		if err == nil {
			resp.Body.Close()
			_, _ = fmt.Fprintf(&said, "%+v", resp.Request)
		}
	}
	// net/http refuses a token that no header can carry. Its error names only the header.
	r, _ := post(t, "https://api.example/", "b", false)
	err = roundTrip(httpauth.Transport(static(good+"\n"), &http.Transport{}, to), r)
	if err == nil {
		t.Error("a token with a line break was sent")
	}
	_, _ = fmt.Fprint(&said, err)
	if strings.Contains(said.String(), "canary") || strings.Contains(said.String(), fmt.Sprintf("%x", good)) {
		t.Errorf("the token appears in %s", said.String())
	}
}

// A static source is a TokenSource that fmt can print.
type static string

func (s static) Token() (string, error) { return string(s), nil }
