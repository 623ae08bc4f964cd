package server

import (
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/extauthz"
)

// TestNamedClientIsTheSubject: forward auth, the proxy and ext_authz pass on the name of
// the client, for a token in any slot. A token without a name has the source's name.
func TestNamedClientIsTheSubject(t *testing.T) {
	t.Parallel()
	a, _ := startAgent(t, good+" name=ci\n"+next+" next name=ci\n"+bad)
	forward, proxy := front(t, a, Options{}), front(t, a, Options{Upstream: app(t, echo())})
	authz := extauthz.New(single(a, Options{Logger: slog.New(slog.DiscardHandler)}), slog.New(slog.DiscardHandler))
	t.Cleanup(func() { _ = authz.Close() })
	for token, want := range map[string]string{good: "ci", next: "ci", bad: "token"} {
		lines := []string{"dapr-api-token: " + token, "X-Tokenagent-Subject: admin"}
		if got := ask(t, "GET", forward, lines...); got.code != http.StatusOK || got.Get("X-Tokenagent-Subject") != want || got.Get("X-Tokenagent-Method") != "token" {
			t.Errorf("forward auth: %d %v; want the subject %s", got.code, got.Header, want)
		}
		if got := ask(t, "GET", proxy, lines...).seen(t).Header; !slices.Equal(got["X-Tokenagent-Subject"], []string{want}) || !slices.Equal(got["X-Tokenagent-Method"], []string{"token"}) {
			t.Errorf("proxy: %v; want the subject %s", got, want)
		}
		answer, err := authz.Check(t.Context(), asEnvoy(lines, true))
		if err != nil {
			t.Fatal(err)
		}
		if got := answer.GetOkResponse().GetHeaders(); len(got) != 2 || got[0].GetHeader().GetValue() != want {
			t.Errorf("ext_authz: %v; want the subject %s", got, want)
		}
	}
}

// TestP5_ForgedSubjects: a client cannot choose its subject by any spelling or place of a
// header.
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

// TestP5_TrailersOfRequestsEndAtTheProxy: over HTTP/1.1 and h2c, announced or not, no
// trailer of a request reaches the app, which might take it for a header. Trailers of
// answers reach the client.
func TestP5_TrailersOfRequestsEndAtTheProxy(t *testing.T) {
	t.Parallel()
	a, _ := startAgent(t, good)
	got := make(chan *http.Request, 1)
	u := app(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Trailer", "X-Sum")
		_, _ = io.Copy(io.Discard, r.Body)
		got <- r
		_, _ = io.WriteString(w, "x")
		_ = http.NewResponseController(w).Flush() // otherwise it has a length, and then HTTP/1.1 allows no trailers
		w.Header().Set("X-Sum", "of the answer")
	}))
	sent := []string{"X-Sum", "X-Tokenagent-Subject", "X_tokenagent_method", "Dapr-Api-Token", "X-Forwarded-For"}
	for _, upstream := range []*url.URL{u, {Scheme: "h2c", Host: u.Host}} {
		base := front(t, a, Options{Upstream: upstream, AllowPaths: []string{"POST /open"}})
		for _, protocol := range []string{"HTTP/1.1", "h2c"} {
			for _, announced := range [][]string{nil, {"X-Sum"}, sent} {
				for _, path := range []string{"/", "/open"} {
					where := fmt.Sprintf("%s to %s at %s, with %q announced", protocol, upstream.Scheme, path, announced)
					trailer := http.Header{}
					for _, name := range announced {
						trailer[name] = nil
					}
					body := &bodyWithEnd{Reader: strings.NewReader("x"), end: func() {
						for _, name := range sent {
							trailer[name] = []string{next}
						}
					}}
					res := askOver(t, protocol, base+path, body, trailer)
					if res.StatusCode != http.StatusOK {
						t.Fatalf("%s: %d", where, res.StatusCode)
					}
					if _, err := io.Copy(io.Discard, res.Body); err != nil {
						t.Errorf("%s: %v", where, err)
					}
					if res.Trailer.Get("X-Sum") != "of the answer" {
						t.Errorf("%s: the client got the trailers %v", where, res.Trailer)
					}
					r := <-got
					if len(r.Trailer) != 0 {
						t.Errorf("%s: the app got the trailers %v", where, r.Trailer)
					}
					for name, values := range r.Header {
						if slices.Contains(values, next) {
							t.Errorf("%s: the app got the trailer %s as a header", where, name)
						}
					}
				}
			}
		}
	}
}

// A bodyWithEnd calls end when it has been read.
type bodyWithEnd struct {
	io.Reader
	end func()
}

func (b *bodyWithEnd) Read(p []byte) (int, error) {
	n, err := b.Reader.Read(p)
	if err != nil {
		b.end()
	}
	return n, err
}
