package httpauth_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"

	"github.com/tokenagent/tokenagent/pkg/verify"
	"github.com/tokenagent/tokenagent/pkg/verify/httpauth"
)

// accepted is the Verifier of the examples. A program uses an agent.Agent.
var accepted = verify.Static("an-example-of-a-token")

// A server with one path that needs a token and one that does not.
func Example() {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /orders", func(w http.ResponseWriter, r *http.Request) {
		p, _ := verify.FromContext(r.Context())
		_, _ = io.WriteString(w, "hello "+p.Subject())
	})
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok") })
	authenticated := httpauth.Middleware(accepted, httpauth.Options{Exempt: []string{"/healthz"}})(mux)

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
	// 200 hello static
	// 200 ok
}

// What a client without a token gets, and one with a wrong token.
func ExampleMiddleware() {
	h := httpauth.Middleware(accepted, httpauth.Options{})(http.NotFoundHandler())
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

// A forward-auth endpoint answers a gateway's question: may this request pass?
func ExampleNew() {
	g := httpauth.New(accepted, httpauth.Options{ForwardAuth: true})
	decide := func(w http.ResponseWriter, r *http.Request) {
		p, err := g.Authenticate(r)
		if err != nil {
			g.Refuse(w, r, err)
			return
		}
		w.Header().Set("X-User", p.Subject())
	}

	r := httptest.NewRequest(http.MethodGet, "/any/path", http.NoBody)
	r.Header.Set("Authorization", "Bearer an-example-of-a-token")
	w := httptest.NewRecorder()
	decide(w, r)
	fmt.Println(w.Code, w.Header().Get("X-User"))
	// Output: 200 static
}

// A reverse proxy passes on requests with an accepted token, without that token.
func ExampleGuard() {
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = fmt.Fprintf(w, "user %q, token %q", r.Header.Get("X-User"), r.Header.Get("Dapr-Api-Token"))
	}))
	defer app.Close()
	target, err := url.Parse(app.URL)
	if err != nil {
		fmt.Println(err)
		return
	}
	proxy := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(target) }}

	g := httpauth.New(accepted, httpauth.Options{})
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p, err := g.Authenticate(r)
		if err != nil {
			g.Refuse(w, r, err)
			return
		}
		r.Header.Set("X-User", p.Subject())
		proxy.ServeHTTP(w, r)
	})

	for _, token := range []string{"an-example-of-a-token", "not-the-token"} {
		r := httptest.NewRequest(http.MethodGet, "/orders", http.NoBody)
		r.Header.Set("dapr-api-token", token)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		fmt.Println(w.Code, strings.TrimSpace(w.Body.String()))
	}
	// Output:
	// 200 user "static", token ""
	// 401 missing or invalid token
}

func ExampleOptions_Validate() {
	o := httpauth.Options{
		Headers: []string{"X-Api-Key", "Host"},
		Exempt:  []string{"/healthz", "GET /static/../x"},
	}
	fmt.Println(o.Validate())
	// Output:
	// httpauth: Headers[1] belongs to the transport and cannot carry a token
	// httpauth: Exempt[1]: the path must begin with a slash and must not hold '%', "//", ';', a dot segment or a character outside RFC 3986 section 3.3
}
