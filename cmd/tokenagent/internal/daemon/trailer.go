package daemon

import (
	"errors"
	"io"
	"net/http"
	"net/http/httputil"

	"github.com/tokenagent/tokenagent/pkg/verify/httpauth"
)

// dropTrailers removes from what a client announced as trailers (RFC 9110
// section 6.6.2) what it may not say, or what may be a token.
func dropTrailers(announced http.Header, g *httpauth.Guard) {
	if len(announced) == 0 {
		return
	}
	dropSubject(announced)
	for _, name := range g.Headers() {
		delete(announced, name)
	}
}

// passTrailers hands on the trailers that are still announced. ReverseProxy has
// only their names, since the values come after the body.
func passTrailers(r *httputil.ProxyRequest) {
	if len(r.Out.Trailer) > 0 && r.Out.Body != nil {
		r.Out.Body = &trailedBody{ReadCloser: r.Out.Body, in: r.In.Trailer, out: r.Out.Trailer}
	}
}

// A trailedBody copies the values of trailers at its end, of the names in out
// alone: in has then whatever the client sent.
type trailedBody struct {
	io.ReadCloser
	in, out http.Header
}

func (b *trailedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if errors.Is(err, io.EOF) {
		for name := range b.out {
			b.out[name] = b.in[name]
		}
	}
	return n, err
}
