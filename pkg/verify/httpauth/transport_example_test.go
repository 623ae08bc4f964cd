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

// exampleSource is the TokenSource of the examples. A program uses an agent.Agent.
type exampleSource struct{}

func (exampleSource) Token() (string, error) { return "an-example-of-a-token", nil }

// A client that sends the token to one host, and to no other.
func ExampleTransport() {
	app := httptest.NewServer(httpauth.Middleware(accepted, httpauth.Options{})(
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
	// 200 hello static
	// 200 0 tokens
}

func ExampleTransportOptions_Validate() {
	fmt.Println(httpauth.TransportOptions{}.Validate())
	fmt.Println(httpauth.TransportOptions{Hosts: []string{"orders.internal", "https://billing.internal/"}}.Validate())
	// Output:
	// httpauth: Hosts is empty; list the hosts that the token may be sent to
	// httpauth: Hosts[1] is not a host or host:port; leave out scheme, user and path, put an IPv6 address in brackets, write a name in ASCII (xn--)
}

// Plain HTTP to another machine needs AllowPlaintext.
func ExampleTransportOptions_plaintext() {
	client := &http.Client{Transport: httpauth.Transport(exampleSource{}, nil, httpauth.TransportOptions{Hosts: []string{"orders.internal"}})}
	resp, err := client.Get("http://orders.internal/")
	if err != nil {
		fmt.Println(err)
		return
	}
	_ = resp.Body.Close()
	// Output:
	// Get "http://orders.internal/": httpauth: the token would be sent to "orders.internal" in plain text; use https, or set AllowPlaintext if the connection is private by other means
}
