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
// server and its ReverseProxy, as the ResponseWriter of the answer and, in body, as
// the body that the app reads.
type exchange struct {
	http.ResponseWriter
	request   *http.Request
	identity  [2]string // for setIdentity; here it costs no allocation of its own
	continues bool      // the client has asked for 100 (Continue), which net/http sends
	status    int       // of the answer; 0 until it comes
	left      int64     // bytes of the answer that are still to come, by its Content-Length
	body      clientBody
}

// Unwrap is for [http.ResponseController].
func (e *exchange) Unwrap() http.ResponseWriter { return e.ResponseWriter }

// Hijack is for [http.ResponseController]. It closes the client's connection when the
// request is cancelled: ReverseProxy closes that of the app alone, and then waits for
// a write to a client that may not read.
func (e *exchange) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := http.NewResponseController(e.ResponseWriter).Hijack()
	if err == nil {
		context.AfterFunc(e.request.Context(), func() { _ = conn.Close() })
	}
	return conn, rw, err
}

// WriteHeader passes the app's answer on as it is.
func (e *exchange) WriteHeader(code int) {
	if code == http.StatusContinue && e.continues {
		// net/http sends its own 100 as soon as the body is read. Whether it notices the
		// app's 100 in time is a race, and some clients would get two.
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
			// The app has answered early. The rest of the body would be read as the next
			// request, so the connection must end (RFC 9112 section 9.6).
			h["Connection"] = []string{"close"}
		}
	}
	e.status = code
	e.ResponseWriter.WriteHeader(code)
}

// Write flushes if the answer goes on, because the app may be slow to send the rest. An
// answer without a length is flushed by ReverseProxy.
func (e *exchange) Write(p []byte) (int, error) {
	n, err := e.ResponseWriter.Write(p)
	if e.left -= int64(n); e.left > 0 && err == nil {
		err = http.NewResponseController(e.ResponseWriter).Flush()
	}
	return n, err
}

// lingerTime is how long a client may go on with a body after the whole answer. It
// is what nginx allows between two packets (lingering_timeout).
const lingerTime = 5 * time.Second

// finish is called when the answer has been written, and deals with the rest of the
// request's body if the app answered early. The client may still be sending: if the
// connection were closed at once, the client would lose the answer (RFC 9112 section
// 9.6).
func (e *exchange) finish() {
	if !e.body.isPending() || e.status == http.StatusSwitchingProtocols {
		return
	}
	e.body.closed.Store(true)
	if e.request.Context().Err() != nil {
		return // the client has gone, or its token was revoked
	}
	c := http.NewResponseController(e.ResponseWriter)
	whole := e.Header()["Content-Length"] != nil || e.request.Method == http.MethodHead ||
		e.status == http.StatusNoContent || e.status == http.StatusNotModified
	if whole && !e.continues && c.Flush() == nil {
		// The client has the whole answer, so it can take its time with the body.
		_ = c.SetReadDeadline(time.Now().Add(lingerTime))
		if e.body.discard() {
			return
		}
	} else {
		// The answer ends when the handler does. No read may run then, because it
		// would collide with net/http's own.
		_ = c.SetReadDeadline(time.Now())
		e.body.awaitReads()
		_ = c.SetReadDeadline(time.Now().Add(lingerTime))
	}
	httpconn.CloseInTwoSteps(e.ResponseWriter)
}

// A clientBody is the body of a request over HTTP/1. Closing it reads nothing: the
// app's transport closes it as soon as it has the answer, and net/http's own Close
// would then wait for what the client may never send. The zero value has no body.
type clientBody struct {
	in     io.ReadCloser // nil for none
	reads  sync.Mutex    // held while in is read
	ended  atomic.Bool   // in was read to its end
	closed atomic.Bool   // the app reads no more
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

// Close makes later reads fail. A read that has begun goes on.
func (b *clientBody) Close() error {
	b.closed.Store(true)
	return nil
}

// awaitReads waits until no read runs. The body must be closed.
func (b *clientBody) awaitReads() {
	b.reads.Lock()
	b.reads.Unlock() //nolint:staticcheck // empty, because waiting is the point
}

// discard waits until no other read runs, reads the rest, and reports whether that
// came to its end. The body must be closed.
func (b *clientBody) discard() bool {
	b.reads.Lock()
	defer b.reads.Unlock()
	_, err := io.Copy(io.Discard, b.in)
	return err == nil
}
