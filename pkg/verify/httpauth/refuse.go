package httpauth

import (
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/tokenagent/tokenagent/pkg/verify/internal/wire"
)

// The gRPC status codes of a refusal, as numbers, because this package links
// no grpc.
const (
	grpcUnavailable     = "14"
	grpcUnauthenticated = "16"
)

// An answer is a whole refusal, built once. Its header values are shared
// between responses; http.Header's own methods replace them, never modify them.
type answer struct {
	status int
	header []field
	body   []byte // empty for none
}

// A field is one response header under its canonical key.
type field struct {
	key    string
	values []string
}

var closeConnection = []string{"close"} //nolint:gochecknoglobals // shared so that no refusal pays for it

func fieldOf(key, value string) field { return field{http.CanonicalHeaderKey(key), []string{value}} }

// Refuse answers r with the refusal for err: 401 or 503, or the same as a gRPC
// status where r is a gRPC request and the Guard does not serve forward auth.
// Wrong, expired and revoked tokens get one and the same answer. Any error that
// is none of package verify's, and nil, is 503. It reads no body, and closes an
// HTTP/1 connection whose request has one.
func (g *Guard) Refuse(w http.ResponseWriter, r *http.Request, err error) {
	class := wire.ClassOf(err)
	a := &g.http[class]
	if !g.forwardAuth && isGRPC(r) {
		a = &g.grpc[class]
	}
	h := w.Header()
	for i := range a.header {
		h[a.header[i].key] = a.header[i].values
	}
	if r.ProtoMajor == 1 && r.ContentLength != 0 {
		// Otherwise net/http waits for the body, before it sends the answer and
		// again before it closes, and who has proved nothing could hold the
		// connection for as long as it likes. HTTP/2 resets the one stream.
		h["Connection"] = closeConnection
		_ = http.NewResponseController(w).SetReadDeadline(time.Now()) // where there is one to set
		linger(w)
	}
	w.WriteHeader(a.status)
	if len(a.body) > 0 {
		_, _ = w.Write(a.body) // a client that has gone needs no answer
	}
}

// linger makes net/http close the connection in two steps, its own direction half a
// second before the other. A client that still sends its body would lose the answer
// otherwise (RFC 9112 section 9.6). The documented way to ask for that is a body
// beyond its limit; it works on net/http's own ResponseWriter.
func linger(w http.ResponseWriter) {
	var one [1]byte
	_, _ = http.MaxBytesReader(w, io.NopCloser(strings.NewReader("x")), 0).Read(one[:])
}

// httpAnswer builds the refusal of class for plain HTTP.
func httpAnswer(class wire.Class, realm string) answer {
	a := answer{status: http.StatusUnauthorized}
	text := wire.TextUnauthenticated
	challenge := `Bearer realm="` + realm + `"`
	switch class {
	case wire.Missing:
		// RFC 6750 section 3.1: no error code where no token was presented.
		a.header = append(a.header, fieldOf("WWW-Authenticate", challenge))
	case wire.Invalid:
		a.header = append(a.header, fieldOf("WWW-Authenticate", challenge+`, error="invalid_token"`))
	default:
		a.status, text = http.StatusServiceUnavailable, wire.TextUnavailable
		if class == wire.Busy {
			text = wire.TextBusy
		}
		a.header = append(a.header, fieldOf("Retry-After", "1")) // seconds
	}
	a.body = []byte(text + "\n")
	a.header = append(a.header,
		fieldOf("Content-Type", "text/plain; charset=utf-8"),
		fieldOf("Content-Length", strconv.Itoa(len(a.body))),
		fieldOf("Cache-Control", "no-store"),
		fieldOf("X-Content-Type-Options", "nosniff"),
	)
	return a
}

// grpcAnswer builds the refusal of class for gRPC: Trailers-Only of the gRPC
// protocol over HTTP/2, the status in the one header block and no body.
func grpcAnswer(class wire.Class) answer {
	code, text := grpcUnauthenticated, wire.TextUnauthenticated
	switch class {
	case wire.Unavailable:
		code, text = grpcUnavailable, wire.TextUnavailable
	case wire.Busy:
		code, text = grpcUnavailable, wire.TextBusy
	}
	return answer{status: http.StatusOK, header: []field{
		fieldOf("Content-Type", "application/grpc"),
		fieldOf("Grpc-Status", code),
		fieldOf("Grpc-Message", text),
	}}
}
