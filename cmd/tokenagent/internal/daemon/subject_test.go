package daemon

import (
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"golang.org/x/net/http/httpguts"
)

// TestP5_ForgedSubjects: no spelling, place or protocol lets a client name
// itself.
func TestP5_ForgedSubjects(t *testing.T) {
	t.Parallel()
	a, _ := startAgent(t, good)
	var forged, asked atomic.Int32
	base := front(t, a, Options{AllowPaths: []string{"/open"}, Upstream: app(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		if token := r.URL.Path != "/open"; token != (len(r.Header["X-Tokenagent-Subject"]) == 1) || token != (len(r.Header["X-Tokenagent-Method"]) == 1) {
			t.Errorf("%s: %v", r.URL.Path, r.Header)
		}
		for _, h := range []http.Header{r.Header, r.Trailer} {
			for name, values := range h {
				if strings.Contains(strings.ToLower(strings.ReplaceAll(name, "_", "-")), "tokenagent") && strings.Join(values, "") != "token" {
					forged.Add(1)
					t.Errorf("%s: %q", name, values)
				}
			}
		}
	}))})
	n := int32(0)
	for _, name := range []string{"X-Tokenagent-Subject", "x-tokenagent-subject", "X_TOKENAGENT_SUBJECT", "X-Tokenagent_Subject", "x-tokenagent-method", "X_TOKENAGENT_METHOD"} {
		for _, also := range []string{"", "Connection: x-tokenagent-subject, x-tokenagent-method\r\n", "Connection: close, X_Tokenagent_Subject\r\n"} {
			for _, head := range []string{"GET /open HTTP/1.1\r\n", "GET /x HTTP/1.1\r\n" + auth, "GET http://y/x HTTP/1.1\r\n" + auth} {
				w := dialRaw(t, base)
				w.say(t, head+"Host: x\r\n"+also+name+": admin\r\n"+name+": root\r\n\r\n")
				res := w.answer(t)
				if res.StatusCode != http.StatusOK {
					t.Errorf("%s: %d", name, res.StatusCode)
				}
				n++
			}
		}
	}
	if asked.Load() != n || forged.Load() != 0 {
		t.Errorf("%d of %d asked, %d forged", asked.Load(), n, forged.Load())
	}
}

// TestTrailersPass, both ways; a forged identity does not, announced or not.
func TestTrailersPass(t *testing.T) {
	t.Parallel()
	a, _ := startAgent(t, good)
	got := make(chan http.Header, 1)
	w := dialRaw(t, front(t, a, Options{Upstream: app(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Trailer", "X-Sum")
		_, _ = io.Copy(io.Discard, r.Body)
		got <- r.Trailer
		_, _ = io.WriteString(w, "x")
		w.Header().Set("X-Sum", "of the answer")
	}))}))
	w.say(t, "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum, X-Tokenagent-Subject\r\n"+auth+
		"\r\n1\r\nx\r\n0\r\nX-Sum: of the request\r\nX-Tokenagent-Subject: admin\r\nX-Tokenagent_subject: admin\r\n\r\n")
	res := w.answer(t)
	if _, err := io.ReadAll(res.Body); err != nil || res.Trailer.Get("X-Sum") != "of the answer" {
		t.Errorf("the answer's: %v, %v", res.Trailer, err)
	}
	if h := <-got; len(h) != 1 || h.Get("X-Sum") != "of the request" {
		t.Errorf("the request's: %v", h)
	}
}

// TestP5_NothingForgedInTrailers: over HTTP/1.1 and h2c, announced or not, neither
// an identity nor what may be a token, nor what says where a request goes or comes
// from, reaches the app after the body's end.
func TestP5_NothingForgedInTrailers(t *testing.T) {
	t.Parallel()
	a, _ := startAgent(t, good)
	got := make(chan http.Header, 1)
	u := app(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		all := r.Header.Clone()
		maps.Copy(all, r.Trailer)
		got <- all
	}))
	barred := []string{
		"X-Tokenagent-Subject", "X_tokenagent-Subject", "X-Tokenagent-Method", "X_tokenagent_method", "X-Tokenagent-Other", "Dapr-Api-Token", "Dapr_api_token", "X-Other-Token", "X_other_token",
		"Host", "Authorization", "Proxy-Authorization", "Cookie", "Forwarded", "X-Forwarded-For", "X_forwarded_for", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Forwarded-Port",
		"X-Forwarded-Prefix", "X-Forwarded-Client-Cert", "X-Real-Ip", "X_real_ip", "X-Original-Url", "X-Client-Ip", "True-Client-Ip", "Via",
	}
	// Over HTTP/2 net/http resets a request that has some of them.
	allowed := slices.DeleteFunc(slices.Clone(barred), func(name string) bool { return !httpguts.ValidTrailerHeader(name) })
	for _, upstream := range []*url.URL{u, {Scheme: "h2c", Host: u.Host}} {
		base := front(t, a, Options{Upstream: upstream, AllowPaths: []string{"POST /open"}, Headers: []string{"dapr-api-token", "authorization", "x-other-token"}})
		for _, protocol := range []string{"HTTP/1.1", "h2c"} {
			sent := barred
			if protocol == "h2c" {
				sent = allowed
			}
			for _, announced := range [][]string{nil, {"X-Sum"}, append([]string{"X-Sum"}, sent...)} {
				for _, path := range []string{"/", "/open"} {
					late := http.Header{}
					for _, name := range announced {
						late[name] = nil
					}
					body := &trailing{Reader: strings.NewReader("x"), end: func() {
						for _, name := range append([]string{"X-Sum"}, sent...) {
							late[name] = []string{next}
						}
					}}
					res := askOver(t, protocol, base+path, body, late, "X-Tokenagent-Subject: admin", "x_tokenagent_subject: admin", "X-Tokenagent-Method: admin")
					if res.StatusCode != http.StatusOK {
						t.Fatalf("%s: %d", protocol, res.StatusCode)
					}
					h := <-got
					for name, values := range h {
						value := strings.Join(values, "")
						if strings.Contains(value, "admin") || value == next && name != "X-Sum" || strings.Contains(value, good) && path == "/" {
							t.Errorf("%s to %s at %s, with %q announced: the app saw %s", protocol, upstream.Scheme, path, announced, name)
						}
					}
					if announced != nil && h.Get("X-Sum") != next {
						t.Errorf("%s to %s: no trailer has passed", protocol, upstream.Scheme)
					}
				}
			}
		}
	}
}

// A trailing body calls end when it has been read.
type trailing struct {
	io.Reader
	end func()
}

func (b *trailing) Read(p []byte) (int, error) {
	n, err := b.Reader.Read(p)
	if err != nil {
		b.end()
	}
	return n, err
}
