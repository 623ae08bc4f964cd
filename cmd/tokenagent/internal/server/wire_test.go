package server

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

const auth = "dapr-api-token: " + good + "\r\n"

// A wire is a raw connection that gives up after 20 s.
type wire struct {
	net.Conn
	in *bufio.Reader
}

func dialRaw(t *testing.T, base string) *wire {
	t.Helper()
	c, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", strings.TrimPrefix(base, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	return &wire{c, bufio.NewReader(c)}
}

func (w *wire) say(t *testing.T, text string) {
	t.Helper()
	if _, err := io.WriteString(w, text); err != nil {
		t.Fatal(err)
	}
}

func (w *wire) hear(t *testing.T, want string) {
	t.Helper()
	got := make([]byte, len(want))
	if n, err := io.ReadFull(w.in, got); err != nil || string(got) != want {
		t.Fatalf("heard %q (%v), want %q", got[:n], err, want)
	}
}

// The body of an answered request is closed at the end of the test.
type answered struct{ *http.Response }

func (w *wire) answer(t *testing.T) answered {
	t.Helper()
	res, err := http.ReadResponse(w.in, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = res.Body.Close() })
	return answered{res}
}

// ended fails the test if the other side has not closed the connection.
func (w *wire) ended(t *testing.T) {
	t.Helper()
	if _, err := io.Copy(io.Discard, w.in); err != nil && strings.Contains(err.Error(), "timeout") {
		t.Error("the connection was not ended")
	}
}
