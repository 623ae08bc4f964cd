package work

import (
	"net/http"
	"sync/atomic"
)

// Header is the HTTP header of the token, in canonical form. Key is the gRPC metadata
// key.
const (
	Header = "Dapr-Api-Token"
	Key    = "dapr-api-token"
)

// Request returns a request as daprd sends it to an app, without the token.
func Request() *http.Request {
	r, err := http.NewRequest(http.MethodPost, "/orders", nil) //nolint:noctx // it is never sent
	if err != nil {
		panic(err) // the URL is a valid constant
	}
	r.RequestURI, r.RemoteAddr, r.Host = "/orders", "127.0.0.1:40000", "127.0.0.1:3000"
	for _, h := range [][2]string{
		{"User-Agent", "fasthttp"},
		{"Accept", "*/*"},
		{"Content-Type", "application/json"},
		{"Content-Length", "512"},
		{"Traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"},
		{"Accept-Encoding", "gzip"},
	} {
		r.Header.Set(h[0], h[1])
	}
	return r
}

// A Response is a ResponseWriter that keeps only its status.
type Response struct {
	header http.Header
	Status int
}

// NewResponse returns an empty Response. It can be used for any number of requests.
func NewResponse() *Response { return &Response{header: make(http.Header)} }

// Header returns the header, as an http.ResponseWriter does.
func (w *Response) Header() http.Header { return w.header }

func (w *Response) Write(b []byte) (int, error) { return len(b), nil }

// WriteHeader keeps the status.
func (w *Response) WriteHeader(status int) { w.Status = status }

// Accept is a handler that answers 200.
func Accept(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) }

// A Floor is the least that a check of one shared token must do: look up a header, load
// a pointer, and compare the two in constant time.
type Floor struct{ token atomic.Pointer[string] }

// NewFloor returns a Floor that accepts token.
func NewFloor(token string) *Floor {
	f := new(Floor)
	f.token.Store(&token)
	return f
}

// Check reports whether h has the token.
func (f *Floor) Check(h http.Header) bool {
	values := h[Header]
	return len(values) == 1 && Equal(values[0], *f.token.Load())
}

// Equal compares in a time that depends only on the lengths, 32 bytes at a time.
// crypto/subtle takes several times as long, which would make the floor too high.
func Equal(a, b string) bool {
	if len(a) != len(b) {
		return false
	}
	var diff uint64
	for len(a) >= 32 && len(b) >= 32 {
		diff |= (word(a) ^ word(b)) | (word(a[8:]) ^ word(b[8:])) | (word(a[16:]) ^ word(b[16:])) | (word(a[24:]) ^ word(b[24:]))
		a, b = a[32:], b[32:]
	}
	for len(a) >= 8 && len(b) >= 8 {
		diff |= word(a) ^ word(b)
		a, b = a[8:], b[8:]
	}
	for i := range len(a) {
		diff |= uint64(a[i] ^ b[i])
	}
	return diff == 0
}

// word returns the first 8 bytes of s. The compiler makes a single load of it.
func word(s string) uint64 {
	_ = s[7]
	return uint64(s[0]) | uint64(s[1])<<8 | uint64(s[2])<<16 | uint64(s[3])<<24 |
		uint64(s[4])<<32 | uint64(s[5])<<40 | uint64(s[6])<<48 | uint64(s[7])<<56
}
