// Package httpauth authenticates HTTP requests: a request reaches the handler
// only if it carries a token that a [verify.Verifier] accepts.
//
// [Middleware] wraps an [http.Handler]. It reads the token from the request, asks
// the verifier, and answers refusals itself. An accepted request goes on without
// its token and with its [verify.Principal] in the context. [Guard] makes the same
// decision for proxies and gateways, which have work to do between the decision
// and the answer. [Transport] is for senders: it adds the current token to
// outgoing requests.
//
// The answers to refused requests are fixed. No sender mistakes them for success.
// (daprd takes any 2xx as "delivered", and for topics and jobs also 404.)
//
//   - no token: 401 with a Bearer challenge (RFC 6750 section 3)
//   - a wrong, expired or revoked token: the same 401 with error="invalid_token"
//   - no token source loaded yet, too many signatures being checked, or an unknown
//     error of the verifier: 503 with Retry-After
//   - a gRPC request (HTTP/2, POST, content-type application/grpc): the gRPC
//     status Unauthenticated or Unavailable in a trailers-only response
package httpauth

import (
	"net/http"

	"github.com/tokenagent/tokenagent/pkg/verify"
)

// Middleware returns a middleware that calls the next handler for requests whose
// token v accepts and for requests that o exempts. It answers all others. It is
// safe for concurrent use and reads no request body.
//
// The next handler gets the Principal with [verify.FromContext]. It finds no token in
// the header, unless [Options.KeepHeader] is set. Middleware deletes the token from
// the request's own header map, so outer handlers no longer see it either, and a
// second Middleware inside finds none.
//
// The handler gets a copy of the request, as [http.Request.WithContext] makes it.
// The server therefore does not delete the temporary files of a multipart form that
// the handler parses. The handler must call r.MultipartForm.RemoveAll, unless
// [Options.InPlace] is set.
//
// Middleware panics if v is nil or [Options.Validate] returns an error, as
// [http.ServeMux.Handle] does for a bad pattern. It does not recover from a panic
// in v.
func Middleware(v verify.Verifier, o Options) func(http.Handler) http.Handler {
	g := New(v, o)
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			p, err := g.Authenticate(r)
			if err != nil {
				g.Refuse(w, r, err)
				return
			}
			if p != nil && !o.WithoutPrincipal {
				if ctx := verify.NewContext(r.Context(), p); o.InPlace {
					*r = *r.WithContext(ctx) // the copy stays on the stack
				} else {
					r = r.WithContext(ctx)
				}
			}
			next.ServeHTTP(w, r)
		})
	}
}
