package daemon

import (
	"errors"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tokenagent/tokenagent/internal/httpconn"
)

// An exchange is one request on its way to the app and its answer on the way back.
// It stands between net/http's server and its ReverseProxy, as the ResponseWriter of
// the answer and, in body, as what the app reads.
type exchange struct {
	http.ResponseWriter
	subject   [1]string // the value of the header, here so that both are one allocation
	continues bool      // the client has asked for 100 (Continue), which net/http sends
	status    int       // of the answer; 0 until it comes
	body      clientBody
}

// Unwrap is for [http.ResponseController].
func (e *exchange) Unwrap() http.ResponseWriter { return e.ResponseWriter }

// WriteHeader passes the app's answer on as it is.
func (e *exchange) WriteHeader(code int) {
	if code == http.StatusContinue && e.continues {
		// net/http sends its own as soon as the body is wanted. Whether it sees the
		// app's in time is a race, and some clients would be told twice.
		return
	}
	if code >= http.StatusOK {
		h := e.Header()
		if _, ok := h["Content-Type"]; !ok {
			h["Content-Type"] = nil // otherwise net/http guesses one from the content
		}
		if e.body.isPending() {
			// The app has answered early. What is left of the body would be in front of
			// the next request, so there is none (RFC 9112 section 9.6).
			h["Connection"] = []string{"close"}
		}
	}
	e.status = code
	e.ResponseWriter.WriteHeader(code)
}

// lingerTime is how long a client may go on with a body after the whole answer. It
// is what nginx allows between two packets (lingering_timeout).
const lingerTime = 5 * time.Second

// finish is called when the answer has been written, and deals with what is left of
// the request's body where the app answered early. The client may still be sending:
// to close the connection in its face would make it lose the answer (RFC 9112
// section 9.6). ended reports whether the request has been cancelled.
func (e *exchange) finish(r *http.Request) {
	if !e.body.isPending() || e.status == http.StatusSwitchingProtocols {
		return
	}
	e.body.closed.Store(true)
	if r.Context().Err() != nil {
		return // the client has gone, or is to go
	}
	c := http.NewResponseController(e.ResponseWriter)
	whole := e.Header()["Content-Length"] != nil || r.Method == http.MethodHead ||
		e.status == http.StatusNoContent || e.status == http.StatusNotModified
	if whole && !e.continues && c.Flush() == nil {
		// The client has all of the answer, so it can take its time with the body.
		_ = c.SetReadDeadline(time.Now().Add(lingerTime))
		if e.body.discard() {
			return
		}
	} else {
		// The answer ends when the handler does. No read may be under way then: it
		// would run into net/http's own.
		_ = c.SetReadDeadline(time.Now())
		e.body.release()
		_ = c.SetReadDeadline(time.Now().Add(lingerTime))
	}
	httpconn.CloseInTwoSteps(e.ResponseWriter)
}

// A clientBody is the body of a request over HTTP/1. To close it reads nothing: the
// app's transport closes it as soon as it knows the answer, and net/http's own Close
// waits then for what the client may never send. The zero value has no body.
type clientBody struct {
	in     io.ReadCloser // nil for none
	reads  sync.Mutex    // held while in is read
	ended  atomic.Bool   // in was read to its end
	closed atomic.Bool   // the app takes no more
}

var errBodyClosed = errors.New("the request's body is read no more, since the app has answered")

// isPending reports whether there is a body that was not read to its end.
func (b *clientBody) isPending() bool { return b.in != nil && !b.ended.Load() }

func (b *clientBody) Read(p []byte) (int, error) {
	b.reads.Lock()
	defer b.reads.Unlock()
	if b.closed.Load() {
		return 0, errBodyClosed
	}
	return b.read(p)
}

func (b *clientBody) read(p []byte) (int, error) {
	n, err := b.in.Read(p)
	if errors.Is(err, io.EOF) {
		b.ended.Store(true)
	}
	return n, err
}

// Close makes reads fail from now on. One under way goes on.
func (b *clientBody) Close() error {
	b.closed.Store(true)
	return nil
}

// release waits until no read is under way. It is closed before.
func (b *clientBody) release() {
	b.reads.Lock()
	b.reads.Unlock() //nolint:staticcheck // empty, because waiting is the point
}

// discard reads the rest, once no other read is under way, and reports whether it
// has come to the end. It is closed before.
func (b *clientBody) discard() bool {
	b.reads.Lock()
	defer b.reads.Unlock()
	_, _ = io.Copy(io.Discard, readerFunc(b.read))
	return b.ended.Load()
}

type readerFunc func(p []byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }
