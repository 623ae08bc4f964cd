package daemon

import (
	"errors"
	"io"
	"net/http"
	"net/http/httputil"
	"strings"

	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/headername"
)

// dropTrailers removes from what a client announced as trailers (RFC 9110 section
// 6.6.2) what may be a token, and what may stand in no trailer because it says where
// a request goes, from whom it comes, or who asks (section 6.5.1). Some servers make
// one of headers and trailers, and those see it after every check.
func dropTrailers(announced http.Header, tokens []string) {
	for name := range announced {
		if isBarred(name) || headername.IsAny(name, tokens) {
			delete(announced, name)
		}
	}
}

// isBarred reports whether a field of that name may stand in no trailer, whichever
// header the token stands in.
func isBarred(name string) bool {
	name = headername.Plain(name)
	for _, family := range [...]string{"x-tokenagent-", "x-forwarded-", "x-original-"} {
		if strings.HasPrefix(name, family) {
			return true
		}
	}
	switch name {
	case "host", "authorization", "proxy-authorization", "cookie", "dapr-api-token",
		"forwarded", "x-forwarded", "via", "x-real-ip", "x-client-ip", "x-cluster-client-ip", "true-client-ip", "cf-connecting-ip",
		"x-envoy-external-address", "x-rewrite-url", "x-http-method-override":
		return true
	}
	return false
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
