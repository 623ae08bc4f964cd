package daemon

import (
	"net/http"

	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/gateway"
)

// alone reports whether r, on its way to an app over HTTP/1.1, must be the last on
// its connection. A server that leaves a body unread takes what is in it for the
// next request, which nobody has checked: of any path and with any subject. Python's
// http.server does so. So whoever has proved nothing gets a connection of its own for
// a body, and so does a method by which few apps expect one (RFC 9110 section 9.3.1
// warns of it). With the others and a token, apps do read it.
func alone(r *http.Request) bool {
	if r.ContentLength == 0 { // -1 is unknown
		return false
	}
	if len(r.Header[gateway.SubjectHeader]) == 0 {
		return true // needs no token
	}
	switch r.Method {
	case http.MethodPost, http.MethodPut, http.MethodPatch:
		return false
	}
	return true
}
