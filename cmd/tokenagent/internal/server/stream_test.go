package server

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"
)

func TestServerSentEvents(t *testing.T) {
	t.Parallel()
	a, _ := startAgent(t, good)
	more, gone := make(chan struct{}), make(chan struct{})
	w := dialRaw(t, front(t, a, Options{Upstream: app(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		fmt.Fprintf(w, "id: %s\n\n", r.Header.Get("Last-Event-Id"))
		_ = http.NewResponseController(w).Flush()
		<-more
		_, _ = io.WriteString(w, "id: 8\n\n")
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
		close(gone)
	}))}))
	w.say(t, "GET /events HTTP/1.1\r\nHost: x\r\nLast-Event-ID: 7\r\n"+auth+"\r\n")
	res := w.answer(t)
	lines := bufio.NewScanner(res.Body)
	if !lines.Scan() || lines.Text() != "id: 7" {
		t.Fatalf("%q, %v", lines.Text(), lines.Err())
	}
	close(more) // the first event has arrived, so no buffer held it

	for range 2 { // the first is empty
		lines.Scan()
	}
	if lines.Text() != "id: 8" {
		t.Fatalf("%q, %v", lines.Text(), lines.Err())
	}
	_ = w.Close()
	select {
	case <-gone:
	case <-time.After(20 * time.Second):
		t.Error("the app is not told that the client has gone")
	}
}

// TestNothingIsBuffered checks that no block waits in a buffer for the next one. The client
// sends a block only after it has received the previous one back. Some blocks are smaller
// than any buffer on the way, and some are larger than all of them.
func TestNothingIsBuffered(t *testing.T) {
	t.Parallel()
	sizes := []int{1, 100, 5000, 1 << 16, 16 << 20, 2, 1}
	a, _ := startAgent(t, good)
	base := front(t, a, Options{Upstream: app(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c := http.NewResponseController(w)
		_ = c.EnableFullDuplex()
		b := make([]byte, 1<<16)
		for {
			n, err := r.Body.Read(b)
			_, _ = w.Write(b[:n])
			_ = c.Flush()
			if err != nil {
				return
			}
		}
	}))})
	for _, protocol := range []string{"HTTP/1.1", "h2c"} {
		t.Run(protocol, func(t *testing.T) {
			t.Parallel()
			body, feed := io.Pipe()
			begun := make(chan error, 1)
			send := func(n int) { _, err := feed.Write(make([]byte, n)); begun <- err }
			go send(sizes[0])
			res := askOver(t, protocol, base, body, nil)
			for i, n := range sizes {
				if i > 0 {
					go send(n)
				}
				if _, err := io.CopyN(io.Discard, res.Body, int64(n)); err != nil {
					t.Fatalf("block %d: %v", i, err)
				}
				if err := <-begun; err != nil {
					t.Fatalf("block %d: %v", i, err)
				}
			}
			_ = feed.Close()
			if n, err := io.Copy(io.Discard, res.Body); n != 0 || err != nil {
				t.Errorf("%d bytes more, %v", n, err)
			}
		})
	}
}

// askOver sends body by POST with the token, and the trailers after the body. It fails
// after 60 s.
func askOver(t *testing.T, protocol, base string, body io.Reader, trailer http.Header, headers ...string) answered {
	t.Helper()
	var p http.Protocols
	p.SetHTTP1(protocol == "HTTP/1.1")
	p.SetUnencryptedHTTP2(protocol == "h2c")
	tr := &http.Transport{Protocols: &p}
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, base, body)
	if err != nil {
		t.Fatal(err)
	}
	r.Trailer = trailer
	r.Header.Set("Dapr-Api-Token", good)
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		r.Header[name] = append(r.Header[name], value) // not in canonical form
	}
	res, err := tr.RoundTrip(r)
	t.Cleanup(func() {
		cancel()
		if err == nil {
			_ = res.Body.Close()
		}
		tr.CloseIdleConnections()
	})
	if err != nil {
		t.Fatal(err)
	}
	return answered{res}
}

func TestClientGoesAwayInItsBody(t *testing.T) {
	t.Parallel()
	a, _ := startAgent(t, good)
	begun, failed := make(chan struct{}), make(chan error, 1)
	w := dialRaw(t, front(t, a, Options{Upstream: app(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.ReadFull(r.Body, make([]byte, 4))
		close(begun)
		_, err := io.Copy(io.Discard, r.Body)
		failed <- err
	}))}))
	w.say(t, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n"+auth+"\r\npart")
	<-begun
	_ = w.Close()
	select {
	case err := <-failed:
		if err == nil {
			t.Error("the app took a part for the whole")
		}
	case <-time.After(20 * time.Second):
		t.Error("the app waits")
	}
}

// TestAppDiesInItsAnswer checks that the client can tell a part of an answer from the whole.
func TestAppDiesInItsAnswer(t *testing.T) {
	t.Parallel()
	a, _ := startAgent(t, good)
	for name, head := range map[string]string{"length": "Content-Length: 100\r\n\r\npart", "chunks": "Transfer-Encoding: chunked\r\n\r\n4\r\npart\r\n"} {
		w := dialRaw(t, front(t, a, Options{Upstream: app(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			c, _, err := http.NewResponseController(w).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			defer c.Close()
			fmt.Fprint(c, "HTTP/1.1 200 OK\r\n"+head)
		}))}))
		w.say(t, "GET / HTTP/1.1\r\nHost: x\r\n"+auth+"\r\n")
		res := w.answer(t)
		if got, err := io.ReadAll(res.Body); err == nil || string(got) != "part" {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
}

// TestOverH2C checks the same over HTTP/2. It also checks that the stream of a client that
// goes away ends, although its connection stays open.
func TestOverH2C(t *testing.T) {
	t.Parallel()
	a, _ := startAgent(t, good)
	u := app(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "part")
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	}))
	base := front(t, a, Options{Upstream: &url.URL{Scheme: "h2c", Host: u.Host}})
	for _, protocol := range []string{"HTTP/1.1", "h2c"} {
		res := askOver(t, protocol, base, http.NoBody, nil)
		if got, err := io.ReadAll(res.Body); err == nil || string(got) != "part" {
			t.Errorf("%s: %q, %v", protocol, got, err)
		}
	}

	gone := make(chan struct{})
	base = front(t, a, Options{Upstream: app(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
		close(gone)
	}))})
	_ = askOver(t, "h2c", base, http.NoBody, nil).Body.Close()
	select {
	case <-gone:
	case <-time.After(20 * time.Second):
		t.Error("the app is not told that the client has gone")
	}
}

// TestAppAnswersBeforeTheBodyEnds checks that the client gets the whole answer while it
// neither sends the rest of its body nor goes away.
func TestAppAnswersBeforeTheBodyEnds(t *testing.T) {
	t.Parallel()
	a, _ := startAgent(t, good)
	for name, head := range map[string]string{
		"length": "Content-Length: 1000\r\n" + auth + "\r\npart",
		"chunks": "Transfer-Encoding: chunked\r\n" + auth + "\r\n4\r\npart\r\n",
	} {
		w := dialRaw(t, front(t, a, Options{Upstream: app(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			_ = http.NewResponseController(w).EnableFullDuplex()
			w.WriteHeader(http.StatusRequestEntityTooLarge)
			_ = http.NewResponseController(w).Flush()
			_, _ = io.WriteString(w, "enough")
		}))}))
		w.say(t, "POST / HTTP/1.1\r\nHost: x\r\n"+head)
		res := w.answer(t)
		if got, err := io.ReadAll(res.Body); err != nil || string(got) != "enough" || res.StatusCode != http.StatusRequestEntityTooLarge {
			t.Errorf("%s: %d %q, %v", name, res.StatusCode, got, err)
		}
	}
}

// TestForwardedProtoOverTLS checks X-Forwarded-Proto, from which apps build their links.
func TestForwardedProtoOverTLS(t *testing.T) {
	t.Parallel()
	a, _ := startAgent(t, good)
	files, pool := selfSigned(t, t.TempDir(), "main")
	d := runDaemon(t, a, Options{Upstream: app(t, echo()), TLS: files, Poll: -1})
	code, body, _, _, err := knock(t, d.main, &tls.Config{RootCAs: pool}, "dapr-api-token: "+good)
	if err != nil {
		t.Fatal(err)
	}
	if s := (reply{code: code, body: body}).seen(t); s.Header.Get("X-Forwarded-Proto") != "https" || s.Header.Get("Dapr-Api-Token") != "" {
		t.Errorf("%v", s.Header)
	}
}
