package httpauth

import (
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/tokenagent/tokenagent/pkg/verify/internal/wire"
)

// Options says where the token stands and what needs none. The zero value is
// ready to use.
type Options struct {
	// Headers are the header fields that may carry the token, in order: the
	// first one that a request has decides, even if it is empty. Authorization
	// is read with the Bearer scheme, any other as the bare token. None means
	// dapr-api-token, then Authorization.
	Headers []string

	// Exempt lists the requests that need no token, each as "METHOD /path",
	// or "/path" for GET and HEAD. Method and path, as it was escaped on the
	// wire, must be equal: there are no prefixes and no patterns. None means
	// that every request needs a token, but see NoDefaultExempt.
	Exempt []string

	// NoDefaultExempt also asks gRPC requests for a token that cannot carry
	// one: grpc.health.v1.Health, and the three methods that daprd calls
	// without its app token (AppCallback/ListTopicSubscriptions and
	// ListInputBindings, AppCallbackHealthCheck/HealthCheck). False exempts them.
	NoDefaultExempt bool

	// KeepHeader leaves the header that proved the token on the request. It is for
	// an SDK or a handler that checks the token again and cannot be told not to.
	// Other configured headers are removed all the same, and so is every one of
	// them on an exempt request, since nobody has checked those.
	//
	// The risk: everything behind the middleware then holds the token, and so may
	// show it or pass it on: an access log, an error report, a trace, a client that
	// copies the request's headers to another service. It does not help an SDK that
	// read its own copy of the token once, when it started: after a rotation that
	// SDK refuses the new token (https://docs.dapr.io/operations/security/app-api-token/
	// tells apps to set APP_API_TOKEN, which Dapr's go-sdk reads so). Leave the
	// variable out of the app's environment instead.
	//
	// False removes the header.
	KeepHeader bool

	// ForwardAuth says that a response is a verdict about some other request,
	// read by a gateway (nginx auth_request, Envoy ext_authz and the like).
	// Then nothing is exempt, Exempt must be empty, and a refusal is always
	// an HTTP status: the 200 of a gRPC refusal would be read as a yes.
	ForwardAuth bool

	// Realm is the protection space named in the challenge (RFC 9110 section
	// 11.5): printable ASCII without '"' and '\'. Empty means "tokenagent".
	Realm string

	// WithoutPrincipal leaves the Principal out of the request's context,
	// which saves the two allocations that it costs to put it there.
	WithoutPrincipal bool

	// InPlace puts the Principal into the request that the middleware was called
	// with. False puts it into a copy, as [http.Handler] asks for, and that copy is
	// most of what an accepted request costs. Where nobody else copies the request,
	// what is outside of the middleware, such as an access log, then finds the
	// Principal in it once the handler has returned, and the server finds the form
	// that the handler has parsed, whose files net/http then removes: over HTTP/1,
	// and before Go 1.27 over HTTP/2. Elsewhere the handler has to do that itself,
	// with r.MultipartForm.RemoveAll.
	//
	// In return the request is the handler's own no longer. Nothing outside may read
	// it from another goroutine while the handler runs, as a log of slow requests
	// does from its timer. What the handler, or an [http.ServeMux] inside, assigns to
	// its fields is what the server and everything outside see: its Body, Method,
	// Pattern and path values. And one that is passed on a second time still has the
	// Principal of the first.
	InPlace bool
}

// Validate reports everything that is wrong with o. The error names entries
// by field and index and never quotes them.
func (o Options) Validate() error {
	_, err := o.compile()
	return err
}

// A route is one exempt method and path.
type route struct{ method, path string }

// rules are Options, checked, in the form in which requests are matched.
type rules struct {
	fields []wire.Field // Name is a canonical header key
	exempt []route
	realm  string
}

func (o Options) compile() (rules, error) {
	var c rules
	var errs []error
	fail := func(format string, args ...any) {
		errs = append(errs, fmt.Errorf("httpauth: "+format, args...))
	}

	var err error
	if c.fields, err = wire.Fields(o.Headers); err != nil {
		errs = append(errs, fmt.Errorf("httpauth: %w", err))
	}
	for i := range c.fields {
		c.fields[i].Name = http.CanonicalHeaderKey(c.fields[i].Name)
	}

	for i, entry := range o.Exempt {
		method, path, both := strings.Cut(entry, " ")
		if !both {
			method, path = "", entry
		}
		switch {
		case both && !wire.IsToken(method):
			fail("Exempt[%d]: not a method and a path", i)
		case !wire.SafePath(path):
			fail("Exempt[%d]: path must begin with a slash and hold no '%%', '//', ';', dot segment or character outside RFC 3986 section 3.3", i)
		}
		if both {
			c.exempt = append(c.exempt, route{method, path})
		} else {
			c.exempt = append(c.exempt, route{http.MethodGet, path}, route{http.MethodHead, path})
		}
	}
	if o.ForwardAuth && len(o.Exempt) > 0 {
		fail("Exempt has no meaning with ForwardAuth: the paths are the gateway's")
	}

	if o.InPlace && o.WithoutPrincipal {
		fail("InPlace has no meaning with WithoutPrincipal: there is nothing to put anywhere")
	}

	c.realm = o.Realm
	if c.realm == "" {
		c.realm = "tokenagent"
	}
	for i := range len(c.realm) {
		if b := c.realm[i]; b < 0x20 || b > 0x7E || b == '"' || b == '\\' {
			fail("Realm: byte %d is not printable ASCII, or needs quoting", i)
			break
		}
	}
	return c, errors.Join(errs...)
}
