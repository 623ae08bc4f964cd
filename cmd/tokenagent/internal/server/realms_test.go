package server

import (
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"

	"github.com/tokenagent/tokenagent/agent"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/extauthz"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/realm"
	"github.com/tokenagent/tokenagent/pkg/reload"
)

// tokenOf is the token of the realm called name.
func tokenOf(name string) string { return good + "-of-" + name }

// openRealms returns the realms a (host a.example), b (host *.b.example, with a header of
// its own) and late, whose source never appears. There is no default realm.
func openRealms(t *testing.T, o Options) *realm.Set {
	t.Helper()
	return openRealmsWith(t, o, "")
}

// openRealmsWith is openRealms with a default realm.
func openRealmsWith(t *testing.T, o Options, fallback string) *realm.Set {
	t.Helper()
	dir := t.TempDir()
	log := slog.New(slog.DiscardHandler)
	spec := func(name, header string, hosts ...string) realm.Spec {
		s := realm.Spec{Name: name, Hosts: hosts, Config: agent.Config{
			Name: name, TokenFile: filepath.Join(dir, name), Poll: -1, WaitForSource: true, Logger: log,
		}}
		if header != "" {
			s.Headers = []string{header}
		}
		return s
	}
	write(t, filepath.Join(dir, "a"), tokenOf("a"))
	write(t, filepath.Join(dir, "b"), tokenOf("b"))
	write(t, filepath.Join(dir, "realms"), "-")
	set, err := realm.Open(t.Context(), filepath.Join(dir, "realms"), func(reload.Content) (*realm.Plan, error) {
		return &realm.Plan{Paths: true, Default: fallback, Specs: []realm.Spec{spec("a", "", "a.example"), spec("b", "X-B", "*.b.example"), spec("late", "", "late.example")}}, nil
	}, realm.Options{Auth: o.Auth(), Poll: -1, Logger: log})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = set.Close() })
	return set
}

// TestP5_ProxyByHost: each host has its realm, and a host without a realm has no access.
// An exempt path is exempt for every host, because a kubelet's probes need that.
func TestP5_ProxyByHost(t *testing.T) {
	t.Parallel()
	var arrived atomic.Pointer[http.Header]
	o := Options{
		Upstream: app(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			h := r.Header.Clone()
			arrived.Store(&h)
			_, _ = w.Write([]byte(r.Header.Get("X-Tokenagent-Subject")))
		})),
		AllowPaths: []string{"/healthz"}, HealthPath: "/brake", Logger: slog.New(slog.DiscardHandler),
	}
	set := openRealms(t, o)
	at := serve(t, newMain(o, set))
	for _, c := range []struct {
		host, path, header, token string
		code                      int
		subject                   string
	}{
		{"a.example", "/x", "dapr-api-token", tokenOf("a"), 200, "a"},
		{"x.b.example:80", "/x", "X-B", tokenOf("b"), 200, "b"},
		{"x.b.example", "/x", "dapr-api-token", tokenOf("b"), 401, ""},
		{"a.example", "/verify/b", "X-B", tokenOf("b"), 401, ""},
		{"a.example", "/x", "dapr-api-token", tokenOf("b"), 401, ""},
		{"late.example", "/x", "dapr-api-token", tokenOf("late"), 503, ""},
		{"other", "/x", "dapr-api-token", tokenOf("a"), 401, ""},
		{"other", "/x", "", "", 401, ""},
		{"other", "/healthz", "", "", 200, ""},
		{"other", "/healthz", "X-B", tokenOf("b"), 200, ""}, // whosever header it is
		{"other", "/healthz", "X_B", tokenOf("b"), 200, ""},
		{"other", "/healthz", "dapr-api-token", tokenOf("a"), 200, ""},
		{"a.example", "/healthz", "", "", 200, ""},
		{"other", "/brake", "", "", 200, ""},
	} {
		arrived.Store(nil)
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, at+c.path, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Host = c.host
		r.Header.Set("X-Tokenagent-Subject", "forged")
		if c.header != "" {
			r.Header.Set(c.header, c.token)
		}
		res, err := client(t).Do(r)
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		h := arrived.Load()
		if res.StatusCode != c.code || (h != nil) != (c.code == 200) {
			t.Errorf("%s%s: %d, arrived %t", c.host, c.path, res.StatusCode, h != nil)
		}
		if h != nil && (h.Get("X-Tokenagent-Subject") != c.subject || strings.Contains(fmt.Sprint(*h), good)) {
			t.Errorf("%s%s: %v", c.host, c.path, *h)
		}
	}
}

// TestReadyzOfRealms: /readyz is ready as soon as one realm is. /readyz/NAME answers for
// one realm.
func TestReadyzOfRealms(t *testing.T) {
	t.Parallel()
	o := Options{Logger: slog.New(slog.DiscardHandler)}
	d := &daemon{Options: o, realms: openRealms(t, o)}
	at := serve(t, d.adminServer(nil))
	want := func(path string, code int) {
		t.Helper()
		if got := ask(t, "GET", at+path); got.code != code {
			t.Errorf("%s: %d %q, want %d", path, got.code, got.body, code)
		}
	}
	want("/readyz", 200)
	want("/readyz/a", 200)
	want("/readyz/late", 503)
	want("/readyz/nobody", 404)
	d.draining.Store(true)
	want("/readyz", 503)
	want("/readyz/a", 503)
}

// TestP5_ExtAuthzByExtension: the context extension of the route names the realm. Without
// it, the host does. The answer removes the headers of that realm.
func TestP5_ExtAuthzByExtension(t *testing.T) {
	t.Parallel()
	set := openRealms(t, Options{})
	authz := extauthz.New(set, slog.New(slog.DiscardHandler))
	t.Cleanup(func() { _ = authz.Close() })
	for _, c := range []struct {
		extension, host, header, token string
		status                         int32 // of the HTTP answer; 0 for a yes
		subject                        string
	}{
		{"a", "", "dapr-api-token", tokenOf("a"), 0, "a"},
		{"b", "a.example", "x-b", tokenOf("b"), 0, "b"},
		{"", "y.b.example", "x-b", tokenOf("b"), 0, "b"},
		{"", "a.example", "dapr-api-token", tokenOf("a"), 0, "a"},
		{"b", "a.example", "dapr-api-token", tokenOf("a"), 401, ""},
		{"", "a.example", "x-b", tokenOf("b"), 401, ""},
		{"", "a.example:x", "dapr-api-token", tokenOf("a"), 401, ""},
		{"", "a.example:80.b.example", "x-b", tokenOf("b"), 401, ""},
		{"a", "a.example:x", "dapr-api-token", tokenOf("a"), 401, ""},
		{"empty", "a.example", "dapr-api-token", tokenOf("a"), 401, ""},
		{"nobody", "a.example", "dapr-api-token", tokenOf("a"), 401, ""},
		{"", "other", "dapr-api-token", tokenOf("a"), 401, ""},
		{"late", "a.example", "dapr-api-token", tokenOf("a"), 503, ""},
	} {
		r := &authv3.CheckRequest{Attributes: &authv3.AttributeContext{
			Request: &authv3.AttributeContext_Request{Http: &authv3.AttributeContext_HttpRequest{
				Host: c.host, Path: "/verify/b", HeaderMap: &corev3.HeaderMap{Headers: []*corev3.HeaderValue{{Key: c.header, RawValue: []byte(c.token)}}},
			}},
		}}
		if c.extension != "" {
			r.Attributes.ContextExtensions = map[string]string{"realm": strings.TrimPrefix(c.extension, "empty")}
		}
		answer, err := authz.Check(t.Context(), r)
		if err != nil {
			t.Fatal(err)
		}
		if got := int32(answer.GetDeniedResponse().GetStatus().GetCode()); got != c.status {
			t.Errorf("%+v: %d", c, got)
		}
		if c.status != 0 {
			continue
		}
		ok := answer.GetOkResponse()
		set := make(map[string]string)
		for _, h := range ok.GetHeaders() {
			set[h.GetHeader().GetKey()] = h.GetHeader().GetValue()
		}
		if want := map[string]string{"x-tokenagent-subject": c.subject, "x-tokenagent-method": "token"}; !maps.Equal(set, want) {
			t.Errorf("%+v: sets %v", c, set)
		}
		if !slices.Contains(ok.GetHeadersToRemove(), c.header) {
			t.Errorf("%+v: removes %v", c, ok.GetHeadersToRemove())
		}
	}
}
