package extauthz

import (
	"bytes"
	"context"
	"maps"
	"net/http"
	"runtime/debug"
	"slices"
	"strings"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	rpcstatus "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/codes"

	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/headername"
	"github.com/tokenagent/tokenagent/pkg/verify"
)

// Check decides about the request that r describes. A refusal is an answer, not an error
// of the call, because failure_mode_allow lets a request pass if the call fails. For the
// same reason Check never uses error_response, not even for 503.
func (s *Server) Check(ctx context.Context, r *authv3.CheckRequest) (answer *authv3.CheckResponse, err error) {
	a := r.GetAttributes()
	name, named := a.GetContextExtensions()[Extension]
	rule := s.realms.Rule(name, named, a.GetRequest().GetHttp().GetHost())
	req, imitations := s.read(ctx, rule, a)
	defer func() {
		// grpc-go would let the panic end the process. The value of the panic may hold
		// a token, so it is not logged.
		if recover() != nil {
			s.log.Error("a check panicked and was refused", "stack", string(debug.Stack()))
			answer, err = rule.denied(req, verify.ErrUnavailable), nil
		}
	}()
	before := maps.Clone(req.Header)
	p, refusal := rule.guard.Authenticate(req)
	if refusal != nil {
		return rule.denied(req, refusal), nil
	}
	return rule.allowed(before, req.Header, p, imitations), nil
}

//nolint:gochecknoglobals // constants
var (
	// The identity headers as HTTP/2 and Envoy spell them.
	subjectKey = strings.ToLower(headername.Subject)
	methodKey  = strings.ToLower(headername.Method)

	// The values of the method header, shared so that no request allocates one. They are
	// never modified, and marshalling them is safe for concurrent use.
	byToken = overwrite(methodKey, verify.MethodToken)
	byJWT   = overwrite(methodKey, verify.MethodJWT)

	// misspelt are the spellings of the identity headers with '_', which CGI programs
	// cannot tell from '-'. They are removed even if they are not in the CheckRequest,
	// because Envoy may send only some of the headers.
	misspelt = []string{
		"x_tokenagent_subject", "x-tokenagent_subject", "x_tokenagent-subject",
		"x_tokenagent_method", "x-tokenagent_method", "x_tokenagent-method",
	}
)

func methodOf(p *verify.Principal) *corev3.HeaderValueOption {
	switch p.Method() {
	case verify.MethodToken:
		return byToken
	case verify.MethodJWT:
		return byJWT
	}
	return overwrite(methodKey, p.Method()) // of another Verifier than the agent
}

// allowed returns the answer that lets the request pass with the identity of p and without
// the token. before are the request's headers with the token, after those without it.
//
// Envoy's ext_authz filter first sets headers and then removes headers. So allowed
// overwrites the identity headers and never removes them. It removes their imitations,
// those of the token's headers, and the misspelt ones.
func (u *Rule) allowed(before, after http.Header, p *verify.Principal, imitations []string) *authv3.CheckResponse {
	remove := make([]string, len(misspelt), len(misspelt)+len(u.fields))
	copy(remove, misspelt)
	for i := range u.fields {
		f := &u.fields[i]
		if _, stays := after[f.key]; !stays && before[f.key] != nil {
			remove = append(remove, f.name)
		}
	}
	for _, name := range imitations {
		if !slices.Contains(remove, name) {
			remove = append(remove, name)
		}
	}
	return &authv3.CheckResponse{
		Status: &rpcstatus.Status{Code: int32(codes.OK)},
		HttpResponse: &authv3.CheckResponse_OkResponse{OkResponse: &authv3.OkHttpResponse{
			Headers:         []*corev3.HeaderValueOption{overwrite(subjectKey, headername.EncodeSubject(p.Subject())), methodOf(p)},
			HeadersToRemove: remove,
		}},
	}
}

// denied returns the Guard's refusal for err. If the client's request is gRPC, Envoy turns
// the refusal into a trailers-only answer. It derives the gRPC status from the HTTP status
// (401 UNAUTHENTICATED, 503 UNAVAILABLE), and uses the body as the message. So the body
// has no final line break, and Envoy sets the headers that describe the body.
func (u *Rule) denied(r *http.Request, err error) *authv3.CheckResponse {
	w := recorder{header: http.Header{}}
	u.guard.Refuse(&w, r, err)
	d := &authv3.DeniedHttpResponse{
		Status: &typev3.HttpStatus{Code: typev3.StatusCode(w.status)},
		Body:   strings.TrimRight(w.body.String(), "\n"),
	}
	for _, name := range slices.Sorted(maps.Keys(w.header)) {
		if name != "Content-Type" && name != "Content-Length" && name != "Connection" {
			d.Headers = append(d.Headers, overwrite(strings.ToLower(name), w.header.Get(name)))
		}
	}
	code := codes.Unauthenticated
	if w.status != http.StatusUnauthorized {
		code = codes.Unavailable
	}
	return &authv3.CheckResponse{
		Status:       &rpcstatus.Status{Code: int32(code), Message: d.Body},
		HttpResponse: &authv3.CheckResponse_DeniedResponse{DeniedResponse: d},
	}
}

// overwrite returns an option that replaces every header called key. The older field
// append stays unset: Envoy accepts only one of the two fields.
func overwrite(key, value string) *corev3.HeaderValueOption {
	return &corev3.HeaderValueOption{
		Header:       &corev3.HeaderValue{Key: key, Value: value},
		AppendAction: corev3.HeaderValueOption_OVERWRITE_IF_EXISTS_OR_ADD,
	}
}

// A recorder is a ResponseWriter that keeps the answer instead of sending it.
type recorder struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (w *recorder) Header() http.Header         { return w.header }
func (w *recorder) WriteHeader(status int)      { w.status = status }
func (w *recorder) Write(p []byte) (int, error) { return w.body.Write(p) }
