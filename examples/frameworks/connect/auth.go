package main

import (
	"errors"
	"net/http"

	"connectrpc.com/connect"

	"github.com/tokenagent/tokenagent/pkg/verify"
	"github.com/tokenagent/tokenagent/pkg/verify/httpauth"
)

// protect returns next behind v. httpauth.Middleware would do, too: clients of Connect
// understand 401. This one also sends an error in the form of the client's protocol. Do not
// use it for what daprd calls, which takes the 200 of a gRPC-Web error for success.
func protect(v verify.Verifier, next http.Handler) http.Handler {
	guard, writer := httpauth.New(v, httpauth.Options{}), connect.NewErrorWriter()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		caller, err := guard.Authenticate(r)
		switch {
		case err == nil:
			next.ServeHTTP(w, r.WithContext(verify.NewContext(r.Context(), caller)))
		case !writer.IsSupported(r):
			guard.Refuse(w, r, err)
		case errors.Is(err, verify.ErrUnavailable):
			_ = writer.Write(w, r, connect.NewError(connect.CodeUnavailable, verify.ErrUnavailable))
		default: // the same text for a wrong, an expired and a revoked token
			_ = writer.Write(w, r, connect.NewError(connect.CodeUnauthenticated, verify.ErrInvalidToken))
		}
	})
}
