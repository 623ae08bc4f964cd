package httpauth

import (
	"net/http"
	"strings"

	"github.com/tokenagent/tokenagent/pkg/rotation"
	"github.com/tokenagent/tokenagent/pkg/verify"
	"github.com/tokenagent/tokenagent/pkg/verify/internal/wire"
)

// A Guard decides about requests one step at a time: [Guard.Check], then
// [Guard.Refuse] or [Guard.Strip]. [Middleware] is these three in a row; a
// proxy or a forward-auth endpoint puts its own work between them. It is
// immutable and safe for concurrent use. The zero Guard is not usable.
type Guard struct {
	rules
	verifier    verify.Verifier
	recorder    verify.PreviousUseRecorder // nil where the verifier does not want to know
	forwardAuth bool
	grpcExempt  bool
	keepHeader  bool
	http, grpc  [wire.Classes]answer
}

// New returns a Guard that asks v. It panics if v is nil or [Options.Validate]
// reports an error.
func New(v verify.Verifier, o Options) *Guard {
	if v == nil {
		panic("httpauth: nil Verifier")
	}
	c, err := o.compile()
	if err != nil {
		panic(err)
	}
	g := &Guard{
		rules:       c,
		verifier:    v,
		forwardAuth: o.ForwardAuth,
		grpcExempt:  !o.NoDefaultExempt && !o.ForwardAuth,
		keepHeader:  o.KeepHeader,
	}
	g.recorder, _ = v.(verify.PreviousUseRecorder)
	for class := range wire.Classes {
		g.http[class] = httpAnswer(class, c.realm)
		g.grpc[class] = grpcAnswer(class)
	}
	return g
}

// Check decides about r. It returns the Principal that r's token proves; or
// exempt, where r needs none and was not asked; or the verifier's error, which
// is for [Guard.Refuse], for logs and for metrics, and holds no token. A
// request without a token is presented to the verifier as "", so that it is
// counted. Check reads no body and changes nothing about r.
func (g *Guard) Check(r *http.Request) (p *verify.Principal, exempt bool, err error) {
	if g.isExempt(r) {
		return nil, true, nil
	}
	p, _, err = g.decide(r)
	return p, false, err
}

// decide is Check for what is not exempt. at is which of the fields decided, and
// none where the request has none of them.
func (g *Guard) decide(r *http.Request) (p *verify.Principal, at int, err error) {
	values, at := g.present(r.Header)
	token := ""
	if at != none {
		token = g.fields[at].Token(values)
	}
	p, err = g.verifier.Verify(r.Context(), token)
	p, err = wire.Hold(token, p, err)
	if err == nil && g.recorder != nil && p.Slot() == rotation.Previous {
		g.recorder.RecordPreviousUse(p, r.RemoteAddr)
	}
	return p, at, err
}

// none is in place of a field that decided.
const none = -1

// Strip removes the token from r, in place, before r goes on. Every configured
// header but Authorization goes, whether it decided or not. Authorization goes
// only where it was the credential: an end user's own stays, as it does on an
// exempt request. [Options.KeepHeader] keeps the header that decided.
func (g *Guard) Strip(r *http.Request, exempt bool) {
	at := none
	if !exempt {
		_, at = g.present(r.Header)
	}
	g.strip(r.Header, at)
}

// strip is Strip where it is known which field decided. Those before it are absent.
func (g *Guard) strip(h http.Header, at int) {
	first := max(at, 0)
	if g.keepHeader {
		first = at + 1 // 0 where none decided
	}
	for i := first; i < len(g.fields); i++ {
		if f := &g.fields[i]; i == at || !f.Bearer {
			delete(h, f.Name)
		}
	}
}

// Headers returns the header fields that g reads and [Guard.Strip] removes, in
// order and in canonical form: for a gateway that hands over others as well. The
// caller owns the slice.
func (g *Guard) Headers() []string {
	names := make([]string, len(g.fields))
	for i := range g.fields {
		names[i] = g.fields[i].Name
	}
	return names
}

// present returns the values of the first configured header that is present, and
// which that is; none where there is none. Header keys are canonical already.
func (g *Guard) present(h http.Header) (values []string, at int) {
	for i := range g.fields {
		if values := h[g.fields[i].Name]; len(values) > 0 {
			return values, i
		}
	}
	return nil, none
}

// isExempt compares the decoded path first, because that is free, and trusts
// it only if it also is the path as written: every exempt path is safe in the
// sense of [wire.SafePath], so a request path with '%', "//", ';' or dot
// segments equals none. A target in absolute form (RFC 9112 section 3.2.2)
// is addressed to some host, not to a path of ours.
func (g *Guard) isExempt(r *http.Request) bool {
	if len(g.exempt) == 0 && (!g.grpcExempt || r.ProtoMajor != 2) {
		return false // in line with the caller, since this is what most requests are
	}
	return g.exempts(r)
}

func (g *Guard) exempts(r *http.Request) bool {
	if !g.listed(r.Method, r.URL.Path) && !(g.grpcExempt && isGRPC(r) && wire.GRPCExempt(r.URL.Path)) {
		return false
	}
	return r.URL.EscapedPath() == r.URL.Path && r.URL.Scheme == "" && r.URL.Host == ""
}

func (g *Guard) listed(method, path string) bool {
	for i := range g.exempt {
		if e := &g.exempt[i]; e.path == path && e.method == method {
			return true
		}
	}
	return false
}

// isGRPC reports whether r is a gRPC request, by what the gRPC protocol over
// HTTP/2 fixes. Nothing less will do: its refusal travels as HTTP 200.
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
