package httpauth_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"

	"github.com/tokenagent/tokenagent/pkg/verify"
	"github.com/tokenagent/tokenagent/pkg/verify/httpauth"
)

// accept stands for an agent.Agent, which is a Verifier too.
func accept(_ context.Context, token string) (*verify.Principal, error) {
	switch token {
	case "":
		return nil, verify.ErrNoToken
	case "an-example-of-a-token":
		return verify.NewPrincipal(verify.PrincipalConfig{Subject: "sidecar"}), nil
	}
	return nil, verify.ErrInvalidToken
}

func Example() {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /orders", func(w http.ResponseWriter, r *http.Request) {
		p, _ := verify.FromContext(r.Context())
		_, _ = io.WriteString(w, "hello "+p.Subject())
	})
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "well") })
	authenticated := httpauth.Middleware(verify.VerifierFunc(accept), httpauth.Options{Exempt: []string{"/healthz"}})(mux)

	send := func(method, path, token string) {
		r := httptest.NewRequest(method, path, http.NoBody)
		if token != "" {
			r.Header.Set("dapr-api-token", token)
		}
		w := httptest.NewRecorder()
		authenticated.ServeHTTP(w, r)
		fmt.Println(w.Code, w.Body)
	}
	send("POST", "/orders", "an-example-of-a-token")
	send("GET", "/healthz", "")
	// Output:
	// 200 hello sidecar
	// 200 well
}

func ExampleMiddleware_refusals() {
	h := httpauth.Middleware(verify.VerifierFunc(accept), httpauth.Options{})(http.NotFoundHandler())
	for _, credential := range []string{"", "Bearer not-the-token"} {
		r := httptest.NewRequest(http.MethodGet, "/", http.NoBody)
		if credential != "" {
			r.Header.Set("Authorization", credential)
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		fmt.Println(w.Code, w.Header().Get("WWW-Authenticate"))
	}
	// Output:
	// 401 Bearer realm="tokenagent"
	// 401 Bearer realm="tokenagent", error="invalid_token"
}

// A forward-auth endpoint answers for a gateway: it passes nothing on, it says
// yes or no.
func ExampleGuard_forwardAuth() {
	g := httpauth.New(verify.VerifierFunc(accept), httpauth.Options{ForwardAuth: true})
	verdict := func(w http.ResponseWriter, r *http.Request) {
		p, _, err := g.Check(r)
		if err != nil {
			g.Refuse(w, r, err)
			return
		}
		w.Header().Set(httpauth.SubjectHeader, httpauth.Subject(p))
	}

	r := httptest.NewRequest(http.MethodGet, "/any/path", http.NoBody)
	r.Header.Set("Authorization", "Bearer an-example-of-a-token")
	w := httptest.NewRecorder()
	verdict(w, r)
	fmt.Println(w.Code, w.Header().Get(httpauth.SubjectHeader))
	// Output: 200 sidecar
}

func ExampleOptions_Validate() {
	o := httpauth.Options{
		Headers: []string{"X-Api-Key", "Host"},
		Exempt:  []string{"/healthz", "GET /static/../x"},
	}
	fmt.Println(o.Validate())
	// Output:
	// httpauth: Headers[1] belongs to the transport and cannot carry a token
	// httpauth: Exempt[1]: path must begin with a slash and hold no '%', '//', ';', dot segment or character outside RFC 3986 section 3.3
}
