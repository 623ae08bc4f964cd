package httpauth

import (
	"net/http"
	"strconv"
	"time"

	"github.com/tokenagent/tokenagent/internal/httpconn"
	"github.com/tokenagent/tokenagent/pkg/verify/internal/wire"
)

// The gRPC status codes of refusals. This package does not import grpc.
const (
	grpcUnavailable     = "14"
	grpcUnauthenticated = "16"
)

// An answer is a refusal without its challenge. All responses of all Guards share its
// header values. That is safe, because the methods of http.Header replace such a slice
// and never modify it.
type answer struct {
	status int
	header []headerField
	body   []byte
}

// A headerField is one response header.
type headerField struct {
	key    string // canonical
	values []string
}

func newHeaderField(key, value string) headerField {
	return headerField{http.CanonicalHeaderKey(key), []string{value}}
}

//nolint:gochecknoglobals // constants, shared by all responses
var (
	connectionClose            = []string{"close"}
	httpRefusals, grpcRefusals = refusals()
)

func refusals() (overHTTP, overGRPC [wire.NumClasses]answer) {
	for class := range wire.NumClasses {
		overHTTP[class], overGRPC[class] = httpRefusal(class), grpcRefusal(class)
	}
	return overHTTP, overGRPC
}

// Refuse answers r with the refusal for err: 401 or 503, or the gRPC status for a
// gRPC request unless [Options.ForwardAuth] is set. Wrong, expired and revoked
// tokens get the same answer. The answer is 503 if err is nil or wraps none of
// package verify's errors. Refuse does not read the request body. If an HTTP/1
// request has one, Refuse closes its connection.
func (g *Guard) Refuse(w http.ResponseWriter, r *http.Request, err error) {
	class := wire.ClassOf(err)
	h, a := w.Header(), &httpRefusals[class]
	if !g.forwardAuth && isGRPC(r) {
		a = &grpcRefusals[class]
	} else if c := g.challenges[class]; c != nil {
		h["Www-Authenticate"] = c
	}
	for i := range a.header {
		h[a.header[i].key] = a.header[i].values
	}
	if r.ProtoMajor == 1 && r.ContentLength != 0 {
		// net/http would wait for the body before it sends the answer, and again
		// before it closes the connection. An unauthenticated client could thus hold
		// the connection as long as it likes. HTTP/2 resets only the stream.
		h["Connection"] = connectionClose
		_ = http.NewResponseController(w).SetReadDeadline(time.Now()) // not every ResponseWriter has one
		httpconn.CloseInTwoSteps(w)
	}
	w.WriteHeader(a.status)
	if len(a.body) > 0 {
		_, _ = w.Write(a.body) // the client may be gone
	}
}

// challenge returns the values of WWW-Authenticate in the refusal of class as plain HTTP.
func challenge(class wire.Class, realm string) []string {
	text := `Bearer realm="` + realm + `"`
	switch {
	case class.Temporary():
		return nil
	case class == wire.Missing:
		return []string{text} // RFC 6750 section 3.1: no error code if the request carries no token
	default:
		return []string{text + `, error="invalid_token"`}
	}
}

// httpRefusal builds the refusal of class as plain HTTP.
func httpRefusal(class wire.Class) answer {
	a := answer{status: http.StatusUnauthorized, body: []byte(class.Text() + "\n")}
	if class.Temporary() {
		a.status = http.StatusServiceUnavailable
		a.header = append(a.header, newHeaderField("Retry-After", "1")) // seconds
	}
	a.header = append(a.header,
		newHeaderField("Content-Type", "text/plain; charset=utf-8"),
		newHeaderField("Content-Length", strconv.Itoa(len(a.body))),
		newHeaderField("Cache-Control", "no-store"),
		newHeaderField("X-Content-Type-Options", "nosniff"),
	)
	return a
}

// grpcRefusal builds the refusal of class for gRPC: Trailers-Only of the gRPC
// protocol over HTTP/2, which is one header block with the status and no body.
func grpcRefusal(class wire.Class) answer {
	code := grpcUnauthenticated
	if class.Temporary() {
		code = grpcUnavailable
	}
	return answer{status: http.StatusOK, header: []headerField{
		newHeaderField("Content-Type", "application/grpc"),
		newHeaderField("Grpc-Status", code),
		newHeaderField("Grpc-Message", class.Text()),
	}}
}
