package httpauth

import (
	"net/http"
	"slices"
	"strings"

	"github.com/tokenagent/tokenagent/pkg/verify"
	"github.com/tokenagent/tokenagent/pkg/verify/internal/wire"
)

// A Guard authenticates requests in two steps: [Guard.Authenticate] decides, and
// [Guard.Refuse] answers a refused request. [Middleware] consists of these two. A
// Guard is immutable and safe for concurrent use. The zero Guard is not usable.
type Guard struct {
	verifier verify.Verifier
	recorder verify.PreviousUseRecorder // nil if the verifier is none

	fields      []wire.Field // with canonical names
	exempt      []route
	grpcExempt  bool // exempt the gRPC methods of [wire.GRPCExempt]
	keepHeader  bool
	forwardAuth bool

	challenges [wire.NumClasses][]string // the values of WWW-Authenticate; nil for none
}

// A route is one exempt method and path.
type route struct{ method, path string }

// New returns a Guard that asks v. It panics if v is nil or [Options.Validate]
// returns an error.
func New(v verify.Verifier, o Options) *Guard {
	if v == nil {
		panic("httpauth: nil Verifier")
	}
	g, err := o.guard()
	if err != nil {
		panic(err)
	}
	g.verifier = v
	g.recorder, _ = v.(verify.PreviousUseRecorder)
	return g
}

// Authenticate decides whether r is accepted. It returns
//
//   - the Principal of r's token if r is accepted
//   - nil and no error if r is exempt; the verifier is not asked
//   - the verifier's error if r is refused; r is unchanged
//
// Authenticate removes every configured header from an accepted or exempt request,
// except an Authorization header that did not carry the token, because it may be an
// end user's. [Options.KeepHeader] keeps the header that carried the token.
//
// The error is for [Guard.Refuse], for logs and for metrics. It contains no token.
// If r has no token, Authenticate asks the verifier about "", so that the verifier
// counts the request. Authenticate does not read the request body.
func (g *Guard) Authenticate(r *http.Request) (*verify.Principal, error) {
	if g.isExempt(r) {
		g.removeTokens(r.Header, -1)
		return nil, nil //nolint:nilnil // exempt: no Principal and no refusal
	}
	token, at := g.token(r.Header)
	p, err := g.verifier.Verify(r.Context(), token)
	p, err = wire.EnforceContract(token, p, err)
	if err != nil {
		return nil, err
	}
	if g.recorder != nil && p.Slot() == verify.SlotPrevious {
		g.recorder.RecordPreviousUse(p, r.RemoteAddr)
	}
	g.removeTokens(r.Header, at)
	return p, nil
}

// token returns the token in the first configured header that is present, and the
// index of its field. It returns "" and -1 if none is present.
func (g *Guard) token(h http.Header) (token string, at int) {
	for i := range g.fields {
		if values := h[g.fields[i].Name]; len(values) > 0 {
			return g.fields[i].Token(values), i
		}
	}
	return "", -1
}

// removeTokens removes from h the configured headers that the handler must not see.
// at is the index of the field that carried the token, or -1.
func (g *Guard) removeTokens(h http.Header, at int) {
	for i := range g.fields {
		remove := !g.fields[i].Bearer // an end user's own Authorization stays
		if i == at {
			remove = !g.keepHeader
		}
		if remove {
			delete(h, g.fields[i].Name)
		}
	}
}

// Headers returns the names of the headers that may carry the token, in canonical
// form and in order. The caller owns the slice.
func (g *Guard) Headers() []string {
	names := make([]string, len(g.fields))
	for i := range g.fields {
		names[i] = g.fields[i].Name
	}
	return names
}

// isExempt reports whether r needs no token. It compares the decoded path first,
// because that needs no allocation. The escaped path must then equal the decoded
// path. Every exempt path passes [wire.SafePath], so a path with '%', "//", ';' or a
// dot segment is not exempt. A request target in absolute form (RFC 9112 section
// 3.2.2), which names a host, is not exempt either.
func (g *Guard) isExempt(r *http.Request) bool {
	if len(g.exempt) == 0 && (!g.grpcExempt || r.ProtoMajor != 2) {
		return false // most requests
	}
	if !slices.Contains(g.exempt, route{r.Method, r.URL.Path}) &&
		!(g.grpcExempt && isGRPC(r) && wire.GRPCExempt(r.URL.Path)) {
		return false
	}
	return r.URL.EscapedPath() == r.URL.Path && r.URL.Scheme == "" && r.URL.Host == ""
}

// isGRPC reports whether r is a request of the gRPC protocol over HTTP/2. It must be
// strict, because a gRPC refusal has the HTTP status 200.
func isGRPC(r *http.Request) bool {
	if r.ProtoMajor != 2 || r.Method != http.MethodPost {
		return false
	}
	values := r.Header["Content-Type"]
	if len(values) != 1 {
		return false
	}
	rest, ok := strings.CutPrefix(values[0], "application/grpc")
	return ok && (rest == "" || rest[0] == '+' || rest[0] == ';')
}
