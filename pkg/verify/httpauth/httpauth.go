// Package httpauth lets an HTTP request in if, and only if, it carries a token
// that a [verify.Verifier] accepts.
//
// [Middleware] puts it in front of an [http.Handler]: it takes the token from
// the request, asks the verifier, answers a refusal itself, and passes an
// accepted request on without its token and with its [verify.Principal] in the
// context. [Guard] is the same in single steps, for proxies and gateways. On the
// other end, [Transport] sends the current token with each request.
//
// What the caller is told is fixed, and chosen so that no sender can mistake
// it for success (daprd takes any 2xx, and for topics and jobs even 404, as
// 'delivered'):
//
//   - no token: 401 with a Bearer challenge (RFC 6750 section 3)
//   - a token not accepted, for whatever reason: the same 401 with
//     error="invalid_token"
//   - no answer possible yet, or a verifier's unknown error: 503 with Retry-After
//   - a gRPC request (HTTP/2, POST, content-type application/grpc): the same as
//     a gRPC status, Unauthenticated or Unavailable, in a trailers-only response
package httpauth

import (
	"net/http"

	"github.com/tokenagent/tokenagent/pkg/verify"
)

// Middleware returns a middleware that lets through what v accepts and what o
// exempts. It reads no body. Accepted requests go on without their token
// header, unless [Options.KeepHeader] is set: the header map is modified in
// place, so nothing outside of next sees the token afterwards either, and a
// second Middleware inside the first finds no token. A panic in v is not caught.
//
// It panics, as [http.ServeMux.Handle] does for a bad pattern, if v is nil or
// [Options.Validate] reports an error.
func Middleware(v verify.Verifier, o Options) func(http.Handler) http.Handler {
	g := New(v, o)
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if g.isExempt(r) {
				g.strip(r.Header, none)
				next.ServeHTTP(w, r)
				return
			}
			p, at, err := g.decide(r)
			if err != nil {
				g.Refuse(w, r, err)
				return
			}
			g.strip(r.Header, at)
			if p != nil && !o.WithoutPrincipal {
				if ctx := verify.NewContext(r.Context(), p); o.InPlace {
					*r = *r.WithContext(ctx) // the copy is on the stack, no caller sees it
				} else {
					r = r.WithContext(ctx)
				}
			}
			next.ServeHTTP(w, r)
		})
	}
}
