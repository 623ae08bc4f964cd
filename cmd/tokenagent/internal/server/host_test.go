package server

import (
	"bytes"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// askH2 sends one request over HTTP/2 in plain text, with the header fields as they
// stand, and returns the status.
func askH2(t *testing.T, base string, fields ...[2]string) string {
	t.Helper()
	w := dialRaw(t, base)
	w.say(t, http2.ClientPreface)
	f := http2.NewFramer(w.Conn, w.in)
	f.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	var block bytes.Buffer
	enc := hpack.NewEncoder(&block)
	for _, field := range fields {
		if err := enc.WriteField(hpack.HeaderField{Name: field[0], Value: field[1]}); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.WriteSettings(); err != nil {
		t.Fatal(err)
	}
	if err := f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block.Bytes(), EndHeaders: true, EndStream: true}); err != nil {
		t.Fatal(err)
	}
	for {
		frame, err := f.ReadFrame()
		if err != nil {
			t.Fatal(err)
		}
		switch frame := frame.(type) {
		case *http2.MetaHeadersFrame:
			return frame.PseudoValue("status")
		case *http2.RSTStreamFrame:
			return "reset"
		case *http2.GoAwayFrame:
			return "gone"
		default: // settings and the like
		}
	}
}

// hostsOfNobody are some of the malformed hosts that package realm tests. net/http accepts
// at least some of them.
func hostsOfNobody() []string {
	return []string{
		"a.example:x", "a.example:", "a.example:-1", "a.example:80x", "a.example:80:80", "a.example:80.b.example", "a.example:.x.b.example",
		"a.example/.b.example", "a.example..", "A.example:x", "user@a.example", "a.example, x.b.example", "a.example%2e", "[::1%25lo]", "[::1]x", "::1", ":80", "",
	}
}

// TestP5_TokenOfOneRealmOpensNoOther: the agent and the app may read a malformed host
// differently. So the proxy and forward auth refuse it, even if the path names the realm.
// They answer 401, because nginx's auth_request knows no other refusal.
func TestP5_TokenOfOneRealmOpensNoOther(t *testing.T) {
	t.Parallel()
	var arrived atomic.Int32
	upstream := app(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		arrived.Add(1)
		_, _ = io.Copy(io.Discard, r.Body)
	}))
	for name, o := range map[string]Options{"proxy": {Upstream: upstream}, "forward auth": {}} {
		o.Logger = slog.New(slog.DiscardHandler)
		base := serve(t, newMain(o, openRealmsWith(t, o, "a")))
		for _, host := range append(hostsOfNobody(), "other", "other:99999", "a.example.") {
			good := !strings.ContainsAny(host, "/,%@[") && (strings.HasPrefix(host, "other") || host == "a.example.")
			for _, path := range []string{"/x", "/verify/a"} {
				w := dialRaw(t, base)
				w.say(t, "GET "+path+" HTTP/1.1\r\nHost: "+host+"\r\ndapr-api-token: "+tokenOf("a")+"\r\n\r\n")
				code := w.answer(t).StatusCode
				if good && code != http.StatusOK || !good && code != http.StatusUnauthorized && code != http.StatusBadRequest {
					t.Errorf("%s of %s, Host %q: %d", name, path, host, code)
				}
				for _, field := range []string{":authority", "host"} {
					got := askH2(t, base, [2]string{":method", "GET"}, [2]string{":scheme", "http"}, [2]string{":path", path}, [2]string{field, host}, [2]string{"dapr-api-token", tokenOf("a")})
					if good != (got == "200") {
						t.Errorf("%s of %s, HTTP/2 with %s %q: %s", name, path, field, host, got)
					}
				}
			}
		}
		// The absolute form decides, and not the Host beside it (RFC 9112 section 3.2.2).
		for target, want := range map[string]int{"http://late.example/x": 503, "http://a.example:x/": 400, "http://a.example:80.b.example/": 400, "http://b@a.example/": 200, "http://[::1%25lo]/": 401} {
			w := dialRaw(t, base)
			w.say(t, "GET "+target+" HTTP/1.1\r\nHost: a.example\r\ndapr-api-token: "+tokenOf("a")+"\r\n\r\n")
			if code := w.answer(t).StatusCode; code != want {
				t.Errorf("%s of %s: %d, want %d", name, target, code, want)
			}
		}
		// HTTP/1.0 allows a request without a Host. It belongs to no realm.
		w := dialRaw(t, base)
		w.say(t, "GET / HTTP/1.0\r\ndapr-api-token: "+tokenOf("a")+"\r\n\r\n")
		if code := w.answer(t).StatusCode; code != http.StatusUnauthorized {
			t.Errorf("%s without a Host: %d", name, code)
		}
	}
	if arrived.Load() == 0 {
		t.Error("no good request has reached the app")
	}
}
