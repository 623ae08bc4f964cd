package httpauth_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"reflect"
	"testing"

	"github.com/tokenagent/tokenagent/pkg/verify"
	"github.com/tokenagent/tokenagent/pkg/verify/httpauth"
)

const (
	refused    = "missing or invalid token\n"
	notLoaded  = "token source not loaded yet\n"
	busy       = "too many signatures are being checked; try again\n"
	challenge  = `Bearer realm="tokenagent"`
	wrongToken = challenge + `, error="invalid_token"`
)

func httpRefusal(body, key, value string) http.Header {
	return http.Header{
		key:                      {value},
		"Content-Type":           {"text/plain; charset=utf-8"},
		"Content-Length":         {map[string]string{refused: "25", notLoaded: "28", busy: "49"}[body]},
		"Cache-Control":          {"no-store"},
		"X-Content-Type-Options": {"nosniff"},
	}
}

// TestRefusals fixes every refusal, byte for byte.
func TestRefusals(t *testing.T) {
	for name, c := range map[string]struct {
		err    error
		status int
		body   string
		key    string
		value  string
		grpc   string
	}{
		"missing":       {verify.ErrNoToken, 401, refused, "Www-Authenticate", challenge, "16"},
		"invalid":       {verify.ErrInvalidToken, 401, refused, "Www-Authenticate", wrongToken, "16"},
		"expired":       {verify.ErrExpiredToken, 401, refused, "Www-Authenticate", wrongToken, "16"},
		"revoked":       {verify.ErrRevokedToken, 401, refused, "Www-Authenticate", wrongToken, "16"},
		"unavailable":   {verify.ErrUnavailable, 503, notLoaded, "Retry-After", "1", "14"},
		"busy":          {verify.ErrBusy, 503, busy, "Retry-After", "1", "14"},
		"unknown":       {errors.New("canary"), 503, notLoaded, "Retry-After", "1", "14"},
		"caller gone":   {context.Canceled, 503, notLoaded, "Retry-After", "1", "14"},
		"a Guard's nil": {nil, 503, notLoaded, "Retry-After", "1", "14"},
	} {
		t.Run(name, func(t *testing.T) {
			g := httpauth.New(&fake{}, httpauth.Options{})
			want := httpRefusal(c.body, c.key, c.value)
			for _, r := range []*http.Request{get("/"), httptest.NewRequest(http.MethodPost, "/dapr/subscribe", http.NoBody)} {
				w := httptest.NewRecorder()
				g.Refuse(w, r, c.err)
				if w.Code != c.status || !reflect.DeepEqual(w.Header(), want) || w.Body.String() != c.body {
					t.Errorf("got %d %v %q\nwant %d %v %q", w.Code, w.Header(), w.Body, c.status, want, c.body)
				}
			}

			w := httptest.NewRecorder()
			g.Refuse(w, grpcRequest("/a.B/C"), c.err)
			trailersOnly := http.Header{"Content-Type": {"application/grpc"}, "Grpc-Status": {c.grpc}, "Grpc-Message": {c.body[:len(c.body)-1]}}
			if w.Code != 200 || !reflect.DeepEqual(w.Header(), trailersOnly) || w.Body.Len() != 0 {
				t.Errorf("gRPC: got %d %v %q\nwant 200 %v", w.Code, w.Header(), w.Body, trailersOnly)
			}

			// A gateway takes any 200 for an acceptance.
			w = httptest.NewRecorder()
			httpauth.New(&fake{}, httpauth.Options{ForwardAuth: true}).Refuse(w, grpcRequest("/a.B/C"), c.err)
			if w.Code != c.status || !reflect.DeepEqual(w.Header(), want) {
				t.Errorf("forward auth: got %d %v", w.Code, w.Header())
			}
		})
	}
}

func TestRealm(t *testing.T) {
	w, _ := do(&fake{}, httpauth.Options{Realm: "orders (eu)"}, get("/", "dapr-api-token", "wrong"))
	if got := w.Header().Get("WWW-Authenticate"); got != `Bearer realm="orders (eu)", error="invalid_token"` {
		t.Errorf("challenge %q", got)
	}
}

// TestRefusalsDoNotShareState: a change to the headers of one response does not appear in
// the next.
func TestRefusalsDoNotShareState(t *testing.T) {
	g := httpauth.New(&fake{}, httpauth.Options{})
	for range 2 {
		w := httptest.NewRecorder()
		g.Refuse(w, get("/"), verify.ErrNoToken)
		if got := w.Header()["Www-Authenticate"]; len(got) != 1 || got[0] != challenge {
			t.Fatalf("challenge %q", got)
		}
		w.Header().Add("WWW-Authenticate", "Basic")
		w.Header().Set("Cache-Control", "public")
	}
}

// A body fails the test if it is read or closed.
type body struct{ t *testing.T }

func (b body) Read([]byte) (int, error) { b.t.Error("the body was read"); return 0, errors.New("no") }
func (b body) Close() error             { b.t.Error("the body was closed"); return nil }

func TestBodyIsNotRead(t *testing.T) {
	for _, token := range []string{"", "wrong", unavailable, good} {
		r := get("/", "dapr-api-token", token)
		r.Body = body{t}
		do(&fake{}, httpauth.Options{}, r)
	}
}

func TestPanicIsNotSwallowed(t *testing.T) {
	defer func() {
		if got := recover(); got != "boom" {
			t.Errorf("recovered %v", got)
		}
	}()
	do(verify.VerifierFunc(func(context.Context, string) (*verify.Principal, error) { panic("boom") }), httpauth.Options{}, get("/"))
	t.Error("no panic")
}

func TestVerifierIsGivenTheRequestsContext(t *testing.T) {
	type key struct{}
	r := get("/", "dapr-api-token", good)
	r = r.WithContext(context.WithValue(r.Context(), key{}, "here"))
	w, _ := do(verify.VerifierFunc(func(ctx context.Context, _ string) (*verify.Principal, error) {
		if ctx.Value(key{}) != "here" {
			return nil, verify.ErrInvalidToken
		}
		return current, nil
	}), httpauth.Options{}, r)
	if w.Code != 204 {
		t.Errorf("status %d", w.Code)
	}
}

// TestP5_NoTokenNoAccess: a request reaches the handler only with a token for which the
// verifier returns a Principal. daprd takes no refusal for success.
func TestP5_NoTokenNoAccess(t *testing.T) {
	answers := map[string]verify.VerifierFunc{
		"yes to everything": func(context.Context, string) (*verify.Principal, error) { return current, nil },
		"yes, but nobody":   func(context.Context, string) (*verify.Principal, error) { return nil, nil },
		"no, but somebody":  func(context.Context, string) (*verify.Principal, error) { return current, verify.ErrUnavailable },
		"unknown error":     func(context.Context, string) (*verify.Principal, error) { return nil, errors.New("x") },
		"not loaded":        func(context.Context, string) (*verify.Principal, error) { return nil, verify.ErrUnavailable },
	}
	requests := map[string][]string{
		"none":        nil,
		"empty":       {"dapr-api-token", ""},
		"twice":       {"dapr-api-token", good, "dapr-api-token", good},
		"basic":       {"Authorization", "Basic dTpw"},
		"bare bearer": {"Authorization", "Bearer"},
		"a token":     {"dapr-api-token", good},
	}
	for answer, v := range answers {
		for request, fields := range requests {
			if answer == "yes to everything" && request == "a token" {
				continue // the only combination that is accepted
			}
			for _, path := range []string{"/", "/healthz", "/dapr/subscribe", "/dapr/config"} {
				w, inner := do(v, httpauth.Options{}, get(path, fields...))
				if inner != nil || (w.Code != 401 && w.Code != 503) {
					t.Errorf("%s, %s, %s: status %d, handler reached: %t", answer, request, path, w.Code, inner != nil)
				}
				w, inner = do(v, httpauth.Options{}, grpcRequest(path, fields...))
				if s := w.Header().Get("Grpc-Status"); inner != nil || (s != "14" && s != "16") {
					t.Errorf("gRPC, %s, %s, %s: status %q, handler reached: %t", answer, request, path, s, inner != nil)
				}
			}
		}
	}
}
