package httpauth

import (
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/tokenagent/tokenagent/pkg/verify/internal/wire"
)

// Options says which header carries the token and which requests need none. The
// zero value is ready to use.
type Options struct {
	// Headers are the names of the headers that may carry the token. The first one
	// that is present in a request decides, even if it is empty. Authorization uses
	// the Bearer scheme, any other header holds the token alone. Empty means
	// dapr-api-token, then Authorization.
	Headers []string

	// Exempt lists requests that need no token, each as "METHOD /path", or as
	// "/path" for GET and HEAD. A request must have exactly this method and this
	// escaped path: there are no prefixes and no patterns. Empty means that every
	// request needs a token, except the gRPC methods of NoDefaultExempt.
	Exempt []string

	// NoDefaultExempt requires a token for the gRPC methods that are exempt by
	// default: those of grpc.health.v1.Health, and those that daprd calls without
	// its app token (AppCallback/ListTopicSubscriptions,
	// AppCallback/ListInputBindings, AppCallbackHealthCheck/HealthCheck).
	NoDefaultExempt bool

	// KeepHeader leaves the header that carried the token in the request, for an
	// SDK that checks the token again. Middleware still removes the other configured
	// headers. From an exempt request it removes all of them, because nobody has
	// checked them.
	//
	// The handler can then leak the token into an access log, an error report or a
	// trace, or to another service that it copies headers to. KeepHeader does not
	// help an SDK that reads its own copy of the token only at start, as Dapr's
	// go-sdk does from APP_API_TOKEN: after a rotation the SDK refuses the new token.
	// Do not set that variable for the app
	// (https://docs.dapr.io/operations/security/app-api-token/).
	KeepHeader bool

	// ForwardAuth is for a handler that answers a gateway's question about another
	// request, as nginx auth_request and Envoy ext_authz ask it. No request is
	// exempt, Exempt must be empty, and a refusal is never the 200 of gRPC, which
	// the gateway would take for an acceptance.
	ForwardAuth bool

	// Realm is the protection space that the challenge names (RFC 9110 section
	// 11.5): printable ASCII without '"' and '\'. Empty means "tokenagent".
	Realm string

	// WithoutPrincipal makes Middleware leave the Principal out of the context,
	// which saves two allocations per request.
	WithoutPrincipal bool

	// InPlace makes Middleware put the Principal into the server's own request, not
	// into a copy of it, which saves one allocation per request. An outer handler,
	// such as an access log, then finds the Principal after the inner handler has
	// returned. The server deletes the temporary files of a form that the inner
	// handler parsed. (Since Go 1.27 it does so only over HTTP/1; call
	// r.MultipartForm.RemoveAll.)
	//
	// While the inner handler runs, no other goroutine may read the request. The
	// server and every outer handler see what the inner handler assigns to its
	// fields. A request that passes Middleware twice keeps the first Principal.
	InPlace bool
}

// Validate returns an error that lists everything that is wrong with o. The error
// names list entries by their index. It never quotes them, because they may hold a
// token by mistake.
func (o Options) Validate() error {
	_, err := o.guard()
	return err
}

// guard returns the Guard that o describes, without a verifier.
func (o Options) guard() (*Guard, error) {
	g := &Guard{
		grpcExempt:  !o.NoDefaultExempt && !o.ForwardAuth,
		keepHeader:  o.KeepHeader,
		forwardAuth: o.ForwardAuth,
	}
	var errs []error
	fail := func(format string, args ...any) {
		errs = append(errs, fmt.Errorf("httpauth: "+format, args...))
	}

	var err error
	if g.fields, err = wire.ParseFields(o.Headers); err != nil {
		fail("%w", err)
	}
	for i := range g.fields {
		g.fields[i].Name = http.CanonicalHeaderKey(g.fields[i].Name)
	}
	for i, entry := range o.Exempt {
		routes, problem := parseExempt(entry)
		if problem != "" {
			fail("Exempt[%d]: %s", i, problem)
		}
		g.exempt = append(g.exempt, routes...)
	}
	if o.ForwardAuth && len(o.Exempt) > 0 {
		fail("Exempt cannot be used with ForwardAuth: the paths are the gateway's")
	}

	if o.InPlace && o.WithoutPrincipal {
		fail("InPlace cannot be used with WithoutPrincipal: there is no Principal to store")
	}

	realm := o.Realm
	if realm == "" {
		realm = "tokenagent"
	}
	for i := range len(realm) {
		if b := realm[i]; b < 0x20 || b > 0x7E || b == '"' || b == '\\' {
			fail("Realm: byte %d is not printable ASCII, or needs quoting", i)
			break
		}
	}
	for class := range wire.NumClasses {
		g.challenges[class] = challenge(class, realm)
	}
	return g, errors.Join(errs...)
}

// parseExempt returns the routes of an entry of [Options.Exempt]. problem says
// what is wrong with the entry; it is "" for a valid one.
func parseExempt(entry string) (routes []route, problem string) {
	method, path, ok := strings.Cut(entry, " ")
	if ok {
		routes = []route{{method, path}}
	} else {
		path = entry
		routes = []route{{http.MethodGet, path}, {http.MethodHead, path}}
	}
	switch {
	case ok && !wire.IsToken(method):
		problem = "is not a method and a path"
	case !wire.SafePath(path):
		problem = "the path must begin with a slash and must not hold '%', \"//\", ';', a dot segment or a character outside RFC 3986 section 3.3"
	}
	return routes, problem
}
