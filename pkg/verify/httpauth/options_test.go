package httpauth_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/tokenagent/tokenagent/pkg/verify/httpauth"
)

func TestValidate(t *testing.T) {
	for name, o := range map[string]httpauth.Options{
		"zero":    {},
		"filled":  {Headers: []string{"X-Key", "authorization"}, Exempt: []string{"/healthz", "PROPFIND /a", "/"}, Realm: "the app's (1)"},
		"verdict": {ForwardAuth: true, NoDefaultExempt: true, WithoutPrincipal: true},
	} {
		if err := o.Validate(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, o := range map[string]httpauth.Options{
		"Headers[0]":              {Headers: []string{"X Key"}},
		"Headers[1]":              {Headers: []string{"X-Key", "host"}},
		"Exempt[0]":               {Exempt: []string{""}},
		"Exempt[1]":               {Exempt: []string{"/a", "healthz"}},
		"Exempt[2]":               {Exempt: []string{"/a", "/b", "GET"}},
		"Exempt cannot be used":   {Exempt: []string{"/a"}, ForwardAuth: true},
		"InPlace cannot be used":  {InPlace: true, WithoutPrincipal: true},
		"Realm: byte 1":           {Realm: "a\"b"},
		"Realm: byte 0":           {Realm: "\\"},
		"Realm: byte 2":           {Realm: "ab\r\nSet-Cookie: x"},
		"not a method and a path": {Exempt: []string{" /a"}},
		"path must begin":         {Exempt: []string{"GET  /a"}},
		"not hold '%'":            {Exempt: []string{"GET /%61"}},
		"a dot segment or a":      {Exempt: []string{"GET /a GET /b"}},
	} {
		err := o.Validate()
		if err == nil || !strings.Contains(err.Error(), name) || !strings.HasPrefix(err.Error(), "httpauth: ") {
			t.Errorf("%+v: Validate = %v, want an error that says %q", o, err, name)
		}
	}
	for _, path := range []string{"//a", "/a;b", "/./a", "/a/..", "/a%2Fb", "/a?b", "*", "http://h/a", "/a#b", "/a*\x00", "/{x}"} {
		for _, entry := range []string{path, "GET " + path} {
			if (httpauth.Options{Exempt: []string{entry}}).Validate() == nil {
				t.Errorf("Validate accepts %q", entry)
			}
		}
	}
	for _, method := range []string{"G(T", "GET\t", "G\x00", "GÉT", "GET:"} {
		if (httpauth.Options{Exempt: []string{method + " /a"}}).Validate() == nil {
			t.Errorf("Validate accepts method %q", method)
		}
	}
}

func TestValidateReportsEverythingAndQuotesNothing(t *testing.T) {
	err := httpauth.Options{
		Headers: []string{"dapr-api-token: " + good, "host"},
		Exempt:  []string{good, "GET /" + good + ";"},
		Realm:   "\"" + good,
	}.Validate()
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{"Headers[0]", "Headers[1]", "Exempt[0]", "Exempt[1]", "Realm"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q does not mention %s", err, want)
		}
	}
	if strings.Contains(err.Error(), "canary") {
		t.Errorf("%q quotes an entry", err)
	}
}

func TestConstructorsPanic(t *testing.T) {
	panics := func(name, want string, f func()) {
		t.Helper()
		defer func() {
			t.Helper()
			got := recover()
			if err, ok := got.(error); ok {
				got = err.Error()
			}
			if s, ok := got.(string); !ok || !strings.Contains(s, want) {
				t.Errorf("%s: panic %v, want %q", name, got, want)
			}
		}()
		f()
	}
	bad := httpauth.Options{Exempt: []string{"no path"}}
	panics("Middleware, nil", "nil Verifier", func() { httpauth.Middleware(nil, httpauth.Options{}) })
	panics("New, nil", "nil Verifier", func() { httpauth.New(nil, httpauth.Options{}) })
	panics("Middleware, options", "Exempt[0]", func() { httpauth.Middleware(&fake{}, bad) })
	panics("New, options", "Exempt[0]", func() { httpauth.New(&fake{}, bad) })
}

func TestOptionsAreCopied(t *testing.T) {
	o := httpauth.Options{Headers: []string{"X-Key"}, Exempt: []string{"/open"}}
	g := httpauth.New(&fake{}, o)
	o.Headers[0], o.Exempt[0] = "X-Other", "/closed"
	if isExempt(g, get("/closed")) {
		t.Error("the Guard sees a later change of Exempt")
	}
	if _, err := g.Authenticate(get("/", http.CanonicalHeaderKey("x-key"), good)); err != nil {
		t.Errorf("the Guard sees a later change of Headers: %v", err)
	}
}
