package server

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tokenagent/tokenagent/internal/httpconn"
)

// An exchange is one request to the app and its answer. It stands between net/http's
// server and its ReverseProxy: as the ResponseWriter of the answer, and, in the field
// body, as the request body that the app reads.
type exchange struct {
	http.ResponseWriter
	request        *http.Request
	identity       [2]string // for setIdentity; a field, because it then needs no allocation of its own
	expectContinue bool      // the client expects 100 (Continue), which net/http sends
	status         int       // of the answer; 0 until the app answers
	left           int64     // bytes of the answer still to come, by its Content-Length
	body           clientBody
}

// Unwrap is for [http.ResponseController].
func (e *exchange) Unwrap() http.ResponseWriter { return e.ResponseWriter }

// Hijack is for [http.ResponseController]. It closes the client's connection when the
// request is cancelled. ReverseProxy closes only the app's connection, and then waits
// for a write to a client that may not read.
func (e *exchange) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := http.NewResponseController(e.ResponseWriter).Hijack()
	if err == nil {
		context.AfterFunc(e.request.Context(), func() { _ = conn.Close() })
	}
	return conn, rw, err
}

// WriteHeader passes on the header of the app's answer.
func (e *exchange) WriteHeader(code int) {
	if code == http.StatusContinue && e.expectContinue {
		// net/http sends its own 100 when the body is first read. It would race with the
		// app's 100, and some clients would get two.
		return
	}
	if code >= http.StatusOK {
		h := e.Header()
		if _, ok := h["Content-Type"]; !ok {
			h["Content-Type"] = nil // otherwise net/http guesses one from the content
		}
		if length := h["Content-Length"]; len(length) == 1 {
			e.left, _ = strconv.ParseInt(length[0], 10, 64) // net/http has checked it
		}
		if e.body.isPending() {
			// The app has answered before the end of the body. The rest of the body would
			// be read as the next request, so the connection must end (RFC 9112 section 9.6).
			h["Connection"] = []string{"close"}
		}
	}
	e.status = code
	e.ResponseWriter.WriteHeader(code)
}

// Write flushes each part of an answer with a length except the last, because the app may
// be slow to send the rest. ReverseProxy flushes answers without a length.
func (e *exchange) Write(p []byte) (int, error) {
	n, err := e.ResponseWriter.Write(p)
	if e.left -= int64(n); e.left > 0 && err == nil {
		err = http.NewResponseController(e.ResponseWriter).Flush()
	}
	return n, err
}

// lingerTime is how long a client may continue to send its body after the whole answer.
// nginx allows as much between two packets (lingering_timeout).
const lingerTime = 5 * time.Second

// finish is called when the answer has been written. If the app answered before the end
// of the request's body, finish handles the rest of the body. The client may still be
// sending it. If the connection were closed at once, the client would lose the answer
// (RFC 9112 section 9.6).
func (e *exchange) finish() {
	if !e.body.isPending() || e.status == http.StatusSwitchingProtocols {
		return
	}
	e.body.closed.Store(true)
	if e.request.Context().Err() != nil {
		return // the client has closed the connection, or its token was revoked
	}
	c := http.NewResponseController(e.ResponseWriter)
	hasEnd := e.Header()["Content-Length"] != nil || e.request.Method == http.MethodHead ||
		e.status == http.StatusNoContent || e.status == http.StatusNotModified
	if hasEnd && !e.expectContinue && c.Flush() == nil {
		// The client has the whole answer, so the rest of the body may take a while.
		_ = c.SetReadDeadline(time.Now().Add(lingerTime))
		if e.body.discard() {
			return
		}
	} else {
		// The answer ends when the handler returns. No read of the body may run then,
		// because net/http would read it at the same time.
		_ = c.SetReadDeadline(time.Now())
		e.body.awaitReads()
		_ = c.SetReadDeadline(time.Now().Add(lingerTime))
	}
	httpconn.CloseInTwoSteps(e.ResponseWriter)
}

// A clientBody is the body of a request over HTTP/1. Its Close does not read. The app's
// transport closes the body as soon as it has the answer. net/http's own Close would
// then wait for a rest that the client may never send. The zero value has no body.
type clientBody struct {
	in     io.ReadCloser // nil for no body
	reads  sync.Mutex    // held while in is read
	ended  atomic.Bool   // in was read to its end
	closed atomic.Bool   // later reads fail
}

var errBodyClosed = errors.New("the rest of the request's body is not read, because the app has answered")

// isPending reports whether there is a body that was not read to its end.
func (b *clientBody) isPending() bool { return b.in != nil && !b.ended.Load() }

func (b *clientBody) Read(p []byte) (int, error) {
	b.reads.Lock()
	defer b.reads.Unlock()
	if b.closed.Load() {
		return 0, errBodyClosed
	}
	n, err := b.in.Read(p)
	if errors.Is(err, io.EOF) {
		b.ended.Store(true)
	}
	return n, err
}

// Close makes later reads fail. A read that has begun continues.
func (b *clientBody) Close() error {
	b.closed.Store(true)
	return nil
}

// awaitReads waits until no read runs. The body must be closed.
func (b *clientBody) awaitReads() {
	b.reads.Lock()
	b.reads.Unlock() //nolint:staticcheck // the lock is only waited for
}

// discard waits until no other read runs, reads the rest of the body, and reports whether
// it reached the end. The body must be closed.
func (b *clientBody) discard() bool {
	b.reads.Lock()
	defer b.reads.Unlock()
	_, err := io.Copy(io.Discard, b.in)
	return err == nil
}
