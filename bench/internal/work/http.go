package work

import (
	"net/http"
	"sync/atomic"
)

// Header is where HTTP requests carry the token, in canonical form, and Key where
// gRPC calls do.
const (
	Header = "Dapr-Api-Token"
	Key    = "dapr-api-token"
)

// Request returns what daprd sends to an app, without the token.
func Request() *http.Request {
	r, err := http.NewRequest(http.MethodPost, "/orders", nil) //nolint:noctx // it goes nowhere
	if err != nil {
		panic(err) // a constant is no URL
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

// NewResponse returns an empty one, which serves any number of requests.
func NewResponse() *Response { return &Response{header: make(http.Header)} }

// Header is that of an http.ResponseWriter.
func (w *Response) Header() http.Header { return w.header }

func (w *Response) Write(b []byte) (int, error) { return len(b), nil }

// WriteHeader keeps the status.
func (w *Response) WriteHeader(status int) { w.Status = status }

// Accept is a handler that notes that it was reached.
func Accept(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) }

// A Floor is what no check of one shared token can undercut: a header looked up,
// a pointer loaded, the two compared in constant time.
type Floor struct{ token atomic.Pointer[string] }

// NewFloor returns the floor of that token.
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

// Equal compares in a time that only the lengths decide, 32 bytes at a time:
// crypto/subtle takes several times as long, and would make a soft floor.
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

// word is a single load, as the compiler sees it.
func word(s string) uint64 {
	_ = s[7]
	return uint64(s[0]) | uint64(s[1])<<8 | uint64(s[2])<<16 | uint64(s[3])<<24 |
		uint64(s[4])<<32 | uint64(s[5])<<40 | uint64(s[6])<<48 | uint64(s[7])<<56
}
