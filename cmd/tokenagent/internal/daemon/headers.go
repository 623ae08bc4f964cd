package daemon

import (
	"errors"
	"io"
	"net/http"
	"net/http/httputil"
	"slices"
	"strings"

	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/headername"
	"github.com/tokenagent/tokenagent/pkg/verify"
)

//nolint:gochecknoglobals // constants
var (
	// identity are the headers that tell the app who was authenticated.
	identity = []string{headername.Subject, headername.Method}

	// The values of [headername.Method], shared so that no request allocates one.
	// http.Header's own methods replace such a value, and never modify it.
	byToken = []string{verify.MethodToken}
	byJWT   = []string{verify.MethodJWT}
)

func methodOf(p *verify.Principal) []string {
	switch p.Method() {
	case verify.MethodToken:
		return byToken
	case verify.MethodJWT:
		return byJWT
	}
	return []string{p.Method()} // another verifier's; the agent has none
}

// dropUpgrade removes the wish for another protocol (RFC 9110 section 7.8), except
// for WebSocket after an accepted token. Once an app has agreed to one, the connection
// is a tunnel, and whatever is asked in it is asked without a token. So h2c never
// passes, and no upgrade passes on an exempt path.
func dropUpgrade(h http.Header, exempt bool) {
	if v := h["Upgrade"]; !exempt && len(v) == 1 && strings.EqualFold(v[0], "websocket") {
		return
	}
	delete(h, "Upgrade")
	delete(h, "Http2-Settings")
}

// dropForged removes the identity that a client claims, and headers that an app could
// take for the token, in any spelling that a server may take for ours. The token's own
// header is removed by [httpauth.Guard.Authenticate].
func dropForged(h http.Header, tokens []string) {
	for name := range h {
		if headername.IsAny(name, identity) || headername.Imitates(name, tokens) {
			delete(h, name)
		}
	}
}

// dropTrailers removes from the announced trailers (RFC 9110 section 6.6.2) what may be
// a token, and what no trailer may hold because it says where a request goes, where it
// comes from, or who asks (section 6.5.1). Some servers merge trailers into the headers,
// after every check.
func dropTrailers(announced http.Header, tokens []string) {
	for name := range announced {
		if isForbiddenTrailer(name) || headername.IsAny(name, tokens) {
			delete(announced, name)
		}
	}
}

func isForbiddenTrailer(name string) bool {
	name = headername.Plain(name)
	return slices.ContainsFunc(forbiddenTrailerPrefixes, func(prefix string) bool { return strings.HasPrefix(name, prefix) }) ||
		slices.Contains(forbiddenTrailers, name)
}

//nolint:gochecknoglobals // constants
var (
	forbiddenTrailerPrefixes = []string{"x-tokenagent-", "x-forwarded-", "x-original-"}
	forbiddenTrailers        = []string{
		"host", "authorization", "proxy-authorization", "cookie", "dapr-api-token",
		"forwarded", "x-forwarded", "via", "x-real-ip", "x-client-ip", "x-cluster-client-ip", "true-client-ip", "cf-connecting-ip",
		"x-envoy-external-address", "x-rewrite-url", "x-http-method-override",
	}
)

// passTrailers passes on the values of the trailers that are still announced.
// ReverseProxy copies only their names, because the values come after the body.
func passTrailers(r *httputil.ProxyRequest) {
	if len(r.Out.Trailer) > 0 && r.Out.Body != nil {
		r.Out.Body = &bodyWithTrailers{ReadCloser: r.Out.Body, in: r.In.Trailer, out: r.Out.Trailer}
	}
}

// A bodyWithTrailers copies the values of the trailers in out at its end. By then in
// also holds trailers that were not announced.
type bodyWithTrailers struct {
	io.ReadCloser
	in, out http.Header
}

func (b *bodyWithTrailers) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if errors.Is(err, io.EOF) {
		for name := range b.out {
			b.out[name] = b.in[name]
		}
	}
	return n, err
}
