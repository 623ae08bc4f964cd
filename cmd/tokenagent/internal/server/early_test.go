package server

import (
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tokenagent/tokenagent/internal/testlog"
)

// scripted starts an app that answers each request with fixed bytes as soon as it has read
// the header. After a request with a body, the app reads until the connection ends.
func scripted(t *testing.T, answer string) *url.URL {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	t.Cleanup(func() { _ = l.Close(); serving.Wait() })
	serving.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			serving.Go(func() {
				defer conn.Close()
				for {
					var head strings.Builder
					for one := make([]byte, 1); !strings.HasSuffix(head.String(), "\r\n\r\n"); head.Write(one) {
						if _, err := conn.Read(one); err != nil {
							return
						}
					}
					_, _ = io.WriteString(conn, answer)
					if strings.Contains(head.String(), "Content-Length") || strings.Contains(head.String(), "Transfer-Encoding") {
						_, _ = io.Copy(io.Discard, conn)
						return
					}
				}
			})
		}
	})
	return &url.URL{Scheme: "http", Host: l.Addr().String()}
}

// A bodyForm describes how a body of several parts is sent.
type bodyForm struct {
	head string              // the header field that announces the body
	part func(string) string // returns a part in the form in which it is sent
	end  string
}

func bodyForms(length int) map[string]bodyForm {
	return map[string]bodyForm{
		"length": {"Content-Length: " + strconv.Itoa(length) + "\r\n", func(s string) string { return s }, ""},
		"chunks": {"Transfer-Encoding: chunked\r\n", func(s string) string { return strconv.FormatInt(int64(len(s)), 16) + "\r\n" + s + "\r\n" }, "0\r\n\r\n"},
	}
}

// pieces sends n parts of size bytes, one every 20 ms, like a program that produces its
// body while it sends it. If such a client is cut off in the middle, it reports an error
// and does not read the answer.
func (w *wire) pieces(form bodyForm, n, size int) error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for range n {
		if _, err := io.WriteString(w, form.part(strings.Repeat("x", size))); err != nil {
			return err
		}
		<-tick.C
	}
	_, err := io.WriteString(w, form.end)
	return err
}

// TestEarlyAnswerReachesASlowClient checks that a client that sends its whole body before
// it reads gets the answer of the app, or the refusal. Then the connection ends in order,
// so that no part of the body is read as a request.
func TestEarlyAnswerReachesASlowClient(t *testing.T) {
	t.Parallel()
	a, _ := startAgent(t, good)
	log := &testlog.Log{}
	logger := slog.New(slog.NewTextHandler(log, nil))
	const parts, size = 10, 1000
	withLength := scripted(t, "HTTP/1.1 413 Too Large\r\nContent-Length: 6\r\n\r\nenough")
	inChunks := scripted(t, "HTTP/1.1 413 Too Large\r\nTransfer-Encoding: chunked\r\n\r\n6\r\nenough\r\n0\r\n\r\n")
	empty := scripted(t, "HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n")
	gone := &url.URL{Scheme: "http", Host: freeAddr(t)}
	for name, c := range map[string]struct {
		upstream *url.URL
		auth     string
		code     int
		body     string
	}{
		"the app's, with a length": {withLength, auth, 413, "enough"},
		"the app's, in chunks":     {inChunks, auth, 413, "enough"},
		"the app's, empty":         {empty, auth, 413, ""},
		"no app":                   {gone, auth, 502, "the app behind the proxy did not answer\n"},
		"refused by the proxy":     {withLength, "", 401, "missing or invalid token\n"},
		"refused in forward auth":  {nil, "dapr-api-token: " + bad + "\r\n", 401, "missing or invalid token\n"},
		"allowed in forward auth":  {nil, auth, 200, ""},
	} {
		base := front(t, a, Options{Upstream: c.upstream, Logger: logger})
		for kind, form := range bodyForms(parts * size) {
			t.Run(name+", "+kind, func(t *testing.T) {
				t.Parallel()
				w := dialRaw(t, base)
				w.say(t, "POST / HTTP/1.1\r\nHost: x\r\n"+form.head+c.auth+"\r\n")
				if err := w.pieces(form, parts, size); err != nil {
					t.Fatalf("cut off in the body: %v", err)
				}
				res := w.answer(t)
				if got, err := io.ReadAll(res.Body); err != nil || string(got) != c.body {
					t.Errorf("body %q, %v; want %q", got, err, c.body)
				}
				if res.StatusCode != c.code {
					t.Errorf("code %d, want %d", res.StatusCode, c.code)
				}
				if !res.Close {
					t.Error("the answer does not close the connection")
				}
				if rest, err := io.ReadAll(w.in); err != nil || len(rest) > 0 {
					t.Errorf("after the answer: %q, %v", rest, err)
				}
			})
		}
	}
	t.Cleanup(func() {
		if strings.Contains(log.String(), "panic") {
			t.Error(log.String())
		}
	})
}

// TestEarlyAnswerEndsBeforeTheBody checks that a client that stops in its body until it has
// the whole answer gets the answer at once. The connection ends if no more of the body
// comes within the lingering time.
func TestEarlyAnswerEndsBeforeTheBody(t *testing.T) {
	t.Parallel()
	a, _ := startAgent(t, good)
	for name, answer := range map[string]string{
		"length": "HTTP/1.1 413 Too Large\r\nContent-Length: 6\r\n\r\nenough",
		"chunks": "HTTP/1.1 413 Too Large\r\nTransfer-Encoding: chunked\r\n\r\n6\r\nenough\r\n0\r\n\r\n",
	} {
		base := front(t, a, Options{Upstream: scripted(t, answer)})
		for kind, form := range bodyForms(1 << 20) {
			t.Run(name+", "+kind, func(t *testing.T) {
				t.Parallel()
				w := dialRaw(t, base)
				begun := time.Now()
				w.say(t, "POST / HTTP/1.1\r\nHost: x\r\n"+form.head+auth+"\r\n"+form.part("part"))
				res := w.answer(t)
				if got, err := io.ReadAll(res.Body); err != nil || string(got) != "enough" {
					t.Errorf("%q, %v", got, err)
				}
				if took := time.Since(begun); took > lingerTime/2 {
					t.Errorf("it waited %s", took)
				}
				w.ended(t)
				if took := time.Since(begun); took > 2*lingerTime {
					t.Errorf("it ended after %s", took)
				}
			})
		}
	}
}

// TestKeepAliveAfterABody checks that the connection stays open if the app has read the
// body to its end.
func TestKeepAliveAfterABody(t *testing.T) {
	t.Parallel()
	a, _ := startAgent(t, good)
	w := dialRaw(t, front(t, a, Options{Upstream: app(t, echo())}))
	for kind, form := range bodyForms(4000) {
		for range 5 {
			w.say(t, "POST / HTTP/1.1\r\nHost: x\r\n"+form.head+auth+"\r\n")
			if err := w.pieces(form, 2, 2000); err != nil {
				t.Fatal(err)
			}
			res := w.answer(t)
			if _, err := io.Copy(io.Discard, res.Body); err != nil || res.StatusCode != http.StatusOK || res.Close {
				t.Fatalf("%s: %d, %v, closes %t", kind, res.StatusCode, err, res.Close)
			}
		}
	}
}

// TestForwardAuthWaitsForNoBody checks that forward auth answers without the body that a
// header announces: gateways send the header of the client's request and no body. What a
// gateway sends next is not read as that body.
func TestForwardAuthWaitsForNoBody(t *testing.T) {
	t.Parallel()
	a, _ := startAgent(t, good)
	base := front(t, a, Options{})
	for _, method := range []string{"GET", "POST", "PUT", "HEAD", "DELETE", "OPTIONS"} {
		for name, head := range map[string]string{
			"length":         "Content-Length: 77\r\n",
			"much":           "Content-Length: 9999999999\r\n",
			"chunks":         "Transfer-Encoding: chunked\r\n",
			"part":           "Content-Length: 77\r\n",
			"expect":         "Expect: 100-continue\r\nContent-Length: 77\r\n",
			"expect, chunks": "Expect: 100-continue\r\nTransfer-Encoding: chunked\r\n",
		} {
			for token, want := range map[string]int{good: http.StatusOK, bad: http.StatusUnauthorized} {
				w := dialRaw(t, base)
				begun := time.Now()
				text := method + " / HTTP/1.1\r\nHost: x\r\n" + head + "dapr-api-token: " + token + "\r\n\r\n"
				if name == "part" {
					text += "part"
				}
				w.say(t, text)
				res, err := http.ReadResponse(w.in, &http.Request{Method: method})
				if err != nil {
					t.Fatal(err)
				}
				_, _ = io.Copy(io.Discard, res.Body)
				_ = res.Body.Close()
				if took := time.Since(begun); res.StatusCode != want || took > headerTimeout/2 || !res.Close {
					t.Errorf("%s with %s: %d after %s, closes %t", method, name, res.StatusCode, took, res.Close)
				}
				_, _ = io.WriteString(w, "GET /next HTTP/1.1\r\nHost: x\r\n"+auth+"\r\n")
				if rest, err := io.ReadAll(w.in); len(rest) > 0 || errors.Is(err, net.ErrClosed) {
					t.Errorf("%s with %s: the connection goes on with %q", method, name, rest)
				}
			}
		}
		if code := askH2(t, base, [2]string{":method", method}, [2]string{":scheme", "http"}, [2]string{":path", "/"}, [2]string{":authority", "x"},
			[2]string{"content-length", "77"}, [2]string{"dapr-api-token", good}); code != "200" && code != "reset" {
			t.Errorf("%s over HTTP/2: %s", method, code)
		}
	}
	// A request that announces no body leaves the connection open.
	w := dialRaw(t, base)
	for range 3 {
		w.say(t, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n"+auth+"\r\n")
		if res := w.answer(t); res.StatusCode != http.StatusOK || res.Close {
			t.Errorf("an empty body: %d, closes %t", res.StatusCode, res.Close)
		}
	}
}

// TestForwardAuthOverHTTP2WaitsForNoBody checks the same over HTTP/2.
func TestForwardAuthOverHTTP2WaitsForNoBody(t *testing.T) {
	t.Parallel()
	a, _ := startAgent(t, good)
	base := front(t, a, Options{})
	body, feed := io.Pipe()
	defer feed.Close()
	if res := askOver(t, "h2c", base, body, nil); res.StatusCode != http.StatusOK {
		t.Errorf("%d", res.StatusCode)
	}
}

// TestNoContentTypeIsMadeUp checks that the proxy adds no Content-Type to an answer that
// has none. A guess may be wrong, and with nosniff the browser believes it.
func TestNoContentTypeIsMadeUp(t *testing.T) {
	t.Parallel()
	a, _ := startAgent(t, good)
	page := "<html><script>alert(1)</script></html>" + strings.Repeat(" ", 50000) // more than net/http buffers
	length := "Content-Length: " + strconv.Itoa(len(page)) + "\r\n"
	for name, c := range map[string]struct{ answer, method, want string }{
		"length":           {"HTTP/1.1 200 OK\r\n" + length + "\r\n" + page, "GET", ""},
		"nosniff":          {"HTTP/1.1 200 OK\r\nX-Content-Type-Options: nosniff\r\n" + length + "\r\n" + page, "GET", ""},
		"chunks":           {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + strconv.FormatInt(int64(len(page)), 16) + "\r\n" + page + "\r\n0\r\n\r\n", "GET", ""},
		"early hints":      {"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\n" + length + "\r\n" + page, "GET", ""},
		"HEAD":             {"HTTP/1.1 200 OK\r\n" + length + "\r\n", "HEAD", ""},
		"an error":         {"HTTP/1.1 500 No\r\n" + length + "\r\n" + page, "GET", ""},
		"no content":       {"HTTP/1.1 204 No Content\r\n\r\n", "GET", ""},
		"not modified":     {"HTTP/1.1 304 Not Modified\r\n\r\n", "GET", ""},
		"empty":            {"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "GET", ""},
		"the app's own":    {"HTTP/1.1 200 OK\r\nContent-Type: text/x-own\r\n" + length + "\r\n" + page, "GET", "text/x-own"},
		"own, after hints": {"HTTP/1.1 103 Early Hints\r\nContent-Type: no\r\n\r\nHTTP/1.1 200 OK\r\nContent-Type: text/x-own\r\n" + length + "\r\n" + page, "GET", "text/x-own"},
	} {
		base := front(t, a, Options{Upstream: scripted(t, c.answer)})
		for _, http2 := range []bool{false, true} {
			var p http.Protocols
			p.SetHTTP1(!http2)
			p.SetUnencryptedHTTP2(http2)
			tr := &http.Transport{Protocols: &p}
			r, err := http.NewRequestWithContext(t.Context(), c.method, base, nil)
			if err != nil {
				t.Fatal(err)
			}
			r.Header.Set("Dapr-Api-Token", good)
			res, err := tr.RoundTrip(r)
			if err != nil {
				t.Fatal(err)
			}
			_, _ = io.Copy(io.Discard, res.Body)
			_ = res.Body.Close()
			tr.CloseIdleConnections()
			if got := strings.Join(res.Header["Content-Type"], "|"); got != c.want {
				t.Errorf("%s, HTTP/2 %t: %q, want %q", name, http2, got, c.want)
			}
		}
	}
}

// TestPanicsOfTheServerAreLogged checks that a panic is logged without its value, which may
// hold a token.
func TestPanicsOfTheServerAreLogged(t *testing.T) {
	t.Parallel()
	log := &testlog.Log{}
	s := newHTTPServer(slog.New(slog.NewTextHandler(log, nil)), nil)
	s.Handler = http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic("with " + good + "\ngoroutine " + good) })
	w := dialRaw(t, serve(t, s))
	w.say(t, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
	w.ended(t)
	until(t, "it is logged", func() bool { return strings.Contains(log.String(), "panic serving") })
	if got := log.String(); !strings.Contains(got, "level=WARN") || !strings.Contains(got, "early_test.go") || strings.Contains(got, "CANARY") {
		t.Error(got)
	}
	if _, err := s.ErrorLog.Writer().Write([]byte("http: TLS handshake error\n")); err != nil || strings.Contains(log.String(), "handshake") {
		t.Errorf("what is of no interest is logged: %v", err)
	}
}
