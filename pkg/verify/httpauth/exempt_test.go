package httpauth_test

import (
	"bufio"
	"context"
	"net/http"
	"strings"
	"testing"

	"github.com/tokenagent/tokenagent/pkg/verify"
	"github.com/tokenagent/tokenagent/pkg/verify/httpauth"
)

const healthCheck = "/grpc.health.v1.Health/Check"

// parse reads a request line as net/http's server does. It returns nil if the server
// would refuse the line.
func parse(line string) *http.Request {
	r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(line + " HTTP/1.1\r\nHost: h\r\n\r\n")))
	if err != nil {
		return nil
	}
	return r
}

// isExempt reports whether g lets r through without a token.
func isExempt(g *httpauth.Guard, r *http.Request) bool {
	p, err := g.Authenticate(r)
	return p == nil && err == nil
}

func TestExempt(t *testing.T) {
	g := httpauth.New(&fake{}, httpauth.Options{Exempt: []string{"/healthz", "POST /hook", "OPTIONS /hook/", "GET /", "/a!b", "CONNECT /tunnel"}})
	for line, want := range map[string]bool{
		"GET /healthz":             true,
		"HEAD /healthz":            true,
		"GET /healthz?probe=1":     true, // a path is exempt whatever the query is
		"GET /healthz?":            true,
		"POST /hook":               true,
		"OPTIONS /hook/":           true,
		"GET /":                    true,
		"GET /a!b":                 true,
		"CONNECT /tunnel":          true,
		"POST /healthz":            false,
		"OPTIONS /healthz":         false,
		"PUT /hook":                false,
		"GET /hook":                false,
		"HEAD /":                   false, // "GET /" says GET and no more
		"get /healthz":             false,
		"GETX /healthz":            false,
		"GET /healthz/":            false,
		"GET /healthz/x":           false,
		"GET /healthzx":            false,
		"GET /Healthz":             false,
		"GET /health":              false,
		"POST /hook/":              false,
		"OPTIONS /hook":            false,
		"GET //healthz":            false,
		"GET //":                   false,
		"GET /./healthz":           false,
		"GET /x/../healthz":        false,
		"GET /healthz/.":           false,
		"GET /healthz/..":          false,
		"GET /healthz;x":           false,
		"GET /healthz%3Bx":         false,
		"GET /%68ealthz":           false,
		"GET /a%21b":               false,
		"GET /%2Fhealthz":          false,
		"GET /healthz%2F":          false,
		"GET /healthz%00":          false,
		"GET /healthz%20":          false,
		"GET /healthz%3Fx":         false,
		"GET /x/%2e%2e/healthz":    false,
		"GET http://h/healthz":     false, // absolute form: addressed to a host, not to a path of ours
		"GET http://other/healthz": false,
		"GET //h/healthz":          false,
		"OPTIONS *":                false,
		"GET *":                    false,
		"CONNECT healthz:443":      false,
		"CONNECT h:443":            false,
		"CONNECT /healthz":         false,
		"POST " + healthCheck:      false, // not a gRPC request
	} {
		r := parse(line)
		if r == nil {
			t.Logf("%q: refused by net/http itself", line)
			if want {
				t.Errorf("%q cannot be sent", line)
			}
			continue
		}
		if exempt := isExempt(g, r); exempt != want {
			t.Errorf("%q: exempt %t, want %t", line, exempt, want)
		}
	}
}

func TestNothingIsExemptByDefault(t *testing.T) {
	g := httpauth.New(&fake{}, httpauth.Options{})
	for _, line := range []string{"GET /", "GET /healthz", "OPTIONS *", "CONNECT h:443", "GET " + healthCheck, "POST " + healthCheck, "GET /dapr/config", "GET /dapr/subscribe"} {
		if isExempt(g, parse(line)) {
			t.Errorf("%q is exempt", line)
		}
	}
}

func TestExemptGRPC(t *testing.T) {
	change := func(f func(*http.Request)) *http.Request {
		r := grpcRequest(healthCheck)
		f(r)
		return r
	}
	contentType := func(values ...string) *http.Request {
		return change(func(r *http.Request) { r.Header["Content-Type"] = values })
	}
	for name, c := range map[string]struct {
		r    *http.Request
		want bool
	}{
		"health":                 {grpcRequest(healthCheck), true},
		"subscriptions":          {grpcRequest("/dapr.proto.runtime.v1.AppCallback/ListTopicSubscriptions"), true},
		"bindings":               {grpcRequest("/dapr.proto.runtime.v1.AppCallback/ListInputBindings"), true},
		"daprd's probe":          {grpcRequest("/dapr.proto.runtime.v1.AppCallbackHealthCheck/HealthCheck"), true},
		"+proto":                 {contentType("application/grpc+proto"), true},
		"with a parameter":       {contentType("application/grpc;charset=utf-8"), true},
		"a method with data":     {grpcRequest("/dapr.proto.runtime.v1.AppCallback/OnTopicEvent"), false},
		"grpc-web":               {contentType("application/grpc-web"), false},
		"json":                   {contentType("application/json"), false},
		"no content type":        {contentType(), false},
		"two content types":      {contentType("application/grpc", "text/plain"), false},
		"HTTP/1.1":               {change(func(r *http.Request) { r.ProtoMajor = 1 }), false},
		"GET":                    {change(func(r *http.Request) { r.Method = http.MethodGet }), false},
		"escaped":                {grpcRequest("/grpc.health.v1.Health/%43heck"), false},
		"escaped slash":          {grpcRequest("/grpc.health.v1.Health%2FCheck"), false},
		"doubled slash":          {grpcRequest("/" + healthCheck), false},
		"absolute form":          {grpcRequest("http://h" + healthCheck), false},
		"dot segment":            {grpcRequest("/x/.." + healthCheck), false},
		"a path behind it":       {grpcRequest(healthCheck + "/x"), false},
		"in another letter case": {grpcRequest(strings.ToLower(healthCheck)), false},
	} {
		for _, o := range []httpauth.Options{{}, {NoDefaultExempt: true}, {ForwardAuth: true}} {
			want := c.want && !o.NoDefaultExempt && !o.ForwardAuth
			if exempt := isExempt(httpauth.New(&fake{}, o), c.r); exempt != want {
				t.Errorf("%s, %+v: exempt %t, want %t", name, o, exempt, want)
			}
		}
	}
}

// FuzzExempt: a request is exempt only if its target equals a listed path byte for byte.
func FuzzExempt(f *testing.F) {
	listed := map[string]bool{"GET /healthz": true, "HEAD /healthz": true, "POST /hook/a.b": true, "POST " + healthCheck: true}
	g := httpauth.New(verify.VerifierFunc(func(context.Context, string) (*verify.Principal, error) {
		return nil, verify.ErrNoToken
	}), httpauth.Options{Exempt: []string{"/healthz", "POST /hook/a.b"}})
	for _, s := range []string{"/healthz", "/healthz?x", "/%68ealthz", "//healthz", "http://h/healthz", "/x/../healthz", "/healthz;a", "/hook/a.b", "/hook/./a.b", "*", healthCheck} {
		for _, method := range []string{"GET", "POST", "HEAD", "CONNECT"} {
			f.Add(method, s, true)
		}
	}
	f.Fuzz(func(t *testing.T, method, target string, grpc bool) {
		r := parse(method + " " + target)
		if r == nil {
			return
		}
		if grpc {
			r.ProtoMajor, r.Header = 2, http.Header{"Content-Type": {"application/grpc"}}
		}
		if !isExempt(g, r) {
			if listed[method+" "+target] && (grpc || target != healthCheck) {
				t.Fatalf("%q %q is listed and not exempt", method, target)
			}
			return
		}
		path, _, _ := strings.Cut(r.RequestURI, "?")
		if !listed[r.Method+" "+path] || path == healthCheck && !grpc {
			t.Fatalf("%q %q is exempt and not listed", method, target)
		}
		if path != r.URL.EscapedPath() || path != r.URL.Path {
			t.Fatalf("%q %q is exempt as %q, %q", method, target, r.URL.EscapedPath(), r.URL.Path)
		}
		for _, bad := range []string{"%", "//", ";", "/./", "/../"} {
			if strings.Contains(path, bad) {
				t.Fatalf("%q %q is exempt and holds %q", method, target, bad)
			}
		}
	})
}
