package httpauth_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"

	"github.com/tokenagent/tokenagent/pkg/verify"
	"github.com/tokenagent/tokenagent/pkg/verify/httpauth"
)

// exampleSource stands for an agent.Agent, which is a TokenSource too.
type exampleSource struct{}

func (exampleSource) Token() (string, error) { return "an-example-of-a-token", nil }

// A client whose requests to one host carry the token, and whose others do not.
func ExampleTransport() {
	app := httptest.NewServer(httpauth.Middleware(verify.VerifierFunc(accept), httpauth.Options{})(
		http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			p, _ := verify.FromContext(r.Context())
			_, _ = io.WriteString(w, "hello "+p.Subject())
		})))
	defer app.Close()
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = fmt.Fprintf(w, "%d tokens", len(r.Header.Values("dapr-api-token")))
	}))
	defer other.Close()

	client := &http.Client{Transport: httpauth.Transport(exampleSource{}, nil, httpauth.TransportOptions{
		Hosts: []string{strings.TrimPrefix(app.URL, "http://")}, // such as "orders.internal:8443"
	})}
	for _, url := range []string{app.URL, other.URL} {
		resp, err := client.Get(url)
		if err != nil {
			fmt.Println(err)
			return
		}
		body, _ := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		fmt.Println(resp.StatusCode, string(body))
	}
	client.CloseIdleConnections()
	// Output:
	// 200 hello sidecar
	// 200 0 tokens
}

func ExampleTransportOptions_Validate() {
	fmt.Println(httpauth.TransportOptions{}.Validate())
	fmt.Println(httpauth.TransportOptions{Hosts: []string{"orders.internal", "https://billing.internal/"}}.Validate())
	// Output:
	// httpauth: Hosts is empty; list the hosts that may be sent the token
	// httpauth: Hosts[1] is no host and no host:port; leave out scheme, user and path, put an IPv6 address in brackets, write a name in ASCII (xn--)
}

// Plain HTTP off this machine has to be asked for.
func ExampleTransportOptions_plaintext() {
	client := &http.Client{Transport: httpauth.Transport(exampleSource{}, nil, httpauth.TransportOptions{Hosts: []string{"orders.internal"}})}
	resp, err := client.Get("http://orders.internal/")
	if err != nil {
		fmt.Println(err)
		return
	}
	_ = resp.Body.Close()
	// Output:
	// Get "http://orders.internal/": httpauth: "orders.internal" would be sent the token in plain text; use https, or set AllowPlaintext if the connection is private by other means
}
