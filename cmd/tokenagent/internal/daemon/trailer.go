package daemon

import (
	"errors"
	"io"
	"net/http"
	"net/http/httputil"
	"slices"
	"strings"

	"github.com/tokenagent/tokenagent/pkg/verify/httpauth"
)

// dropTrailers removes from what a client announced as trailers (RFC 9110 section
// 6.6.2) what may be a token, and what may stand in no trailer because it says where
// a request goes, from whom it comes, or who asks (section 6.5.1). Some servers make
// one of headers and trailers, and those see it after every check.
func dropTrailers(announced http.Header, g *httpauth.Guard) {
	if len(announced) == 0 {
		return
	}
	tokens := g.Headers()
	for name := range announced {
		if isBarred(name) || slices.ContainsFunc(tokens, func(token string) bool { return plainName(token) == plainName(name) }) {
			delete(announced, name)
		}
	}
}

// isBarred reports whether a field of that name may stand in no trailer, whichever
// header the token stands in.
func isBarred(name string) bool {
	name = plainName(name)
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

// plainName returns name as a server may read it that makes variables of headers:
// in one case, with '-' for all but letters and digits.
func plainName(name string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r >= 'A' && r <= 'Z':
			return r | 0x20
		case r >= 'a' && r <= 'z' || r >= '0' && r <= '9':
			return r
		}
		return '-'
	}, name)
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
