package extauthz

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/prototext"

	"github.com/tokenagent/tokenagent/internal/testlog"
	"github.com/tokenagent/tokenagent/pkg/verify"
)

const (
	missing = `Bearer realm="tokenagent"`
	invalid = missing + `, error="invalid_token"`
)

// expectAllowed checks every part of an answer that allows a request.
func expectAllowed(t *testing.T, name string, a *authv3.CheckResponse, removed ...string) {
	t.Helper()
	ok := a.GetOkResponse()
	if a.GetStatus().GetCode() != int32(codes.OK) || ok == nil {
		t.Errorf("%s: %v", name, a)
		return
	}
	removed = append(removed, misspelt...)
	slices.Sort(removed)
	if got := slices.Sorted(slices.Values(ok.GetHeadersToRemove())); !slices.Equal(got, removed) {
		t.Errorf("%s: removes %q, not %q", name, got, removed)
	}
	got := map[string]string{}
	for _, h := range ok.GetHeaders() {
		got[h.GetHeader().GetKey()] = h.GetHeader().GetValue()
		if h.GetAppendAction() != corev3.HeaderValueOption_OVERWRITE_IF_EXISTS_OR_ADD || h.GetAppend() != nil { //nolint:staticcheck // must stay unset
			t.Errorf("%s: sets %v", name, h)
		}
	}
	if want := map[string]string{"x-tokenagent-subject": "token", "x-tokenagent-method": "token"}; !maps.Equal(got, want) {
		t.Errorf("%s: sets %q", name, got)
	}
}

// expectDenied checks every part of an answer that refuses a request.
func expectDenied(t *testing.T, name string, a *authv3.CheckResponse, challenge string) {
	t.Helper()
	d := a.GetDeniedResponse()
	if a.GetStatus().GetCode() != int32(codes.Unauthenticated) || d.GetStatus().GetCode() != typev3.StatusCode_Unauthorized {
		t.Errorf("%s: %v", name, a)
		return
	}
	if got := value(d, "www-authenticate"); got != challenge {
		t.Errorf("%s: challenge %q, not %q", name, got, challenge)
	}
	if d.GetBody() != "missing or invalid token" || value(d, "content-type") != "" || value(d, "content-length") != "" {
		t.Errorf("%s: %v", name, d)
	}
}

func value(d *authv3.DeniedHttpResponse, name string) string {
	for _, h := range d.GetHeaders() {
		if h.GetHeader().GetKey() == name {
			return h.GetHeader().GetValue()
		}
	}
	return ""
}

func TestCheck(t *testing.T) {
	t.Parallel()
	a, _ := startAgent(t, good, (&testlog.Log{}).Logger())
	for _, network := range []string{"tcp", "unix"} {
		c, _ := front(t, a, network)
		for form, ask := range map[string]func(...string) *authv3.CheckRequest{"joined": joined, "raw": raw} {
			for name, yes := range map[string]struct{ headers, removed []string }{
				"dapr":              {[]string{"dapr-api-token", good}, []string{"dapr-api-token"}},
				"bearer":            {[]string{"authorization", "bEaReR  " + good + " "}, []string{"authorization"}},
				"an end user's own": {[]string{"dapr-api-token", good, "authorization", "Bearer of-a-user"}, []string{"dapr-api-token"}},
				"gRPC":              {[]string{"dapr-api-token", good, "content-type", "application/grpc"}, []string{"dapr-api-token"}},
				"forged identity":   {[]string{"dapr-api-token", good, "x-tokenagent-subject", "admin", "x_tokenagent_subject", "admin", "x-tokenagent-method", "jwt", "x_tokenagent_method", "jwt"}, []string{"dapr-api-token"}},
				"other spellings": {
					[]string{"dapr-api-token", good, "x.tokenagent.subject", "admin", "X-Tokenagent~Method", "jwt", "dapr_api_token", "zz", "Dapr.Api-Token", "zz", "x-tokenagent-subjects", "stays"},
					[]string{"dapr-api-token", "x.tokenagent.subject", "x-tokenagent~method", "dapr_api_token", "dapr.api-token"},
				},
				"pseudo headers beside": {[]string{":path", "/", ":authority", "x", "dapr-api-token", good}, []string{"dapr-api-token"}},
			} {
				expectAllowed(t, network+" "+form+" "+name, check(t, c, ask(yes.headers...)), yes.removed...)
			}
			for name, no := range map[string]struct {
				headers   []string
				challenge string
			}{
				"none":                 {nil, missing},
				"wrong":                {[]string{"dapr-api-token", bad}, invalid},
				"empty":                {[]string{"dapr-api-token", ""}, missing},
				"empty decides":        {[]string{"dapr-api-token", "", "authorization", "Bearer " + good}, missing},
				"wrong decides":        {[]string{"dapr-api-token", bad, "authorization", "Bearer " + good}, invalid},
				"twice":                {[]string{"dapr-api-token", good, "dapr-api-token", good}, invalid},
				"twice, empty first":   {[]string{"dapr-api-token", "", "dapr-api-token", good}, invalid},
				"twice, empty second":  {[]string{"dapr-api-token", good, "dapr-api-token", ""}, invalid},
				"bearer twice":         {[]string{"authorization", "Bearer " + good, "authorization", "Bearer " + good}, invalid},
				"basic":                {[]string{"authorization", "Basic " + good}, missing},
				"bare authorization":   {[]string{"authorization", good}, missing},
				"a health check":       {[]string{":path", "/grpc.health.v1.Health/Check", "content-type", "application/grpc"}, missing},
				"only a forged header": {[]string{"x-tokenagent-subject", "token"}, missing},
			} {
				expectDenied(t, network+" "+form+" "+name, check(t, c, ask(no.headers...)), no.challenge)
			}
		}
	}
}

// TestCheckNamesTheClient: the subject is the client in every slot. A token without a name
// has the source's name.
func TestCheckNamesTheClient(t *testing.T) {
	t.Parallel()
	a, _ := startAgent(t, good+" name=ci\n"+old+" previous name=ci\n"+bad, (&testlog.Log{}).Logger())
	c, _ := front(t, a, "tcp")
	for token, want := range map[string]string{good: "ci", old: "ci", bad: "token"} {
		ok := check(t, c, raw("dapr-api-token", token, "x-tokenagent-subject", "forged")).GetOkResponse()
		if h := ok.GetHeaders(); len(h) != 2 || h[0].GetHeader().GetKey() != "x-tokenagent-subject" || h[0].GetHeader().GetValue() != want || h[1].GetHeader().GetValue() != "token" {
			t.Errorf("%v; want the subject %s", ok, want)
		}
	}
}

// TestCheckOfOddRequests: requests that no Envoy sends are refused, too.
func TestCheckOfOddRequests(t *testing.T) {
	t.Parallel()
	a, _ := startAgent(t, good, (&testlog.Log{}).Logger())
	c, _ := front(t, a, "tcp")
	both := raw("dapr-api-token", good)
	both.Attributes.Request.Http.Headers = map[string]string{"dapr-api-token": good}
	two := raw("dapr-api-token", good)
	two.Attributes.Request.Http.HeaderMap.Headers[0].Value = bad
	for name, r := range map[string]struct {
		*authv3.CheckRequest
		challenge string
	}{
		"nothing":          {&authv3.CheckRequest{}, missing},
		"no request":       {&authv3.CheckRequest{Attributes: &authv3.AttributeContext{}}, missing},
		"no HTTP":          {from(nil), missing},
		"both forms":       {both, invalid},
		"two values":       {two, invalid},
		"two spellings":    {joined("dapr-api-token", good, "Dapr-Api-Token", good), invalid},
		"a nil header":     {from(&authv3.AttributeContext_HttpRequest{HeaderMap: &corev3.HeaderMap{Headers: []*corev3.HeaderValue{{}}}}), missing},
		"header_map empty": {from(&authv3.AttributeContext_HttpRequest{HeaderMap: &corev3.HeaderMap{}}), missing},
	} {
		expectDenied(t, name, check(t, c, r.CheckRequest), r.challenge)
	}
	plain := raw()
	plain.Attributes.Request.Http.HeaderMap.Headers = []*corev3.HeaderValue{{Key: "Dapr-Api-Token", Value: good}}
	expectAllowed(t, "value instead of raw_value", check(t, c, plain), "dapr-api-token")
}

func TestCheckWithConfiguredHeaders(t *testing.T) {
	t.Parallel()
	a, _ := startAgent(t, good, (&testlog.Log{}).Logger())
	c, _ := front(t, a, "tcp", "X-App-Token", "X-Second")
	expectAllowed(t, "the first", check(t, c, joined("x-app-token", good, "x-second", bad, "authorization", "Bearer x")), "x-app-token", "x-second")
	expectAllowed(t, "the second", check(t, c, joined("x-second", good)), "x-second")
	expectDenied(t, "the default one", check(t, c, joined("dapr-api-token", good)), missing)
}

// TestP2_P3_ExtAuthzRefusesSupersededAndRevoked: an unknown, an expired and a revoked
// token get the same answer.
func TestP2_P3_ExtAuthzRefusesSupersededAndRevoked(t *testing.T) {
	t.Parallel()
	a, path := startAgent(t, good, (&testlog.Log{}).Logger())
	c, _ := front(t, a, "tcp")
	digest := sha256.Sum256([]byte(bad))
	write(t, path, good+"\n"+old+" previous until=2001-01-01T00:00:00Z\n"+"revoked "+hex.EncodeToString(digest[:])+"\n")
	if _, err := a.Reload(); err != nil {
		t.Fatal(err)
	}
	want := check(t, c, raw("dapr-api-token", "CANARY-nobody-knows-it"))
	for name, token := range map[string]string{"expired": old, "revoked": bad} {
		got := check(t, c, raw("dapr-api-token", token))
		expectDenied(t, name, got, invalid)
		if got.String() != want.String() {
			t.Errorf("%s looks different from unknown: %v", name, got)
		}
	}
	expectAllowed(t, "current", check(t, c, raw("dapr-api-token", good)), "dapr-api-token")
	if err := a.Revoke(sha256.Sum256([]byte(good))); err != nil {
		t.Fatal(err)
	}
	expectDenied(t, "just revoked", check(t, c, raw("dapr-api-token", good)), invalid)
}

// TestP5_ExtAuthzNotLoadedIsRefused: the answer is 503 with Retry-After, not an error of
// the call, so that failure_mode_allow does not apply.
func TestP5_ExtAuthzNotLoadedIsRefused(t *testing.T) {
	t.Parallel()
	a, path := startAgent(t, "", (&testlog.Log{}).Logger())
	c, _ := front(t, a, "tcp")
	for _, r := range []*authv3.CheckRequest{joined(), raw("dapr-api-token", good)} {
		answer := check(t, c, r)
		d := answer.GetDeniedResponse()
		if answer.GetStatus().GetCode() != int32(codes.Unavailable) || d.GetStatus().GetCode() != typev3.StatusCode_ServiceUnavailable || value(d, "retry-after") == "" {
			t.Errorf("%v", answer)
		}
	}
	write(t, path, good)
	until(t, "it is loaded", func() bool { return check(t, c, joined("dapr-api-token", good)).GetOkResponse() != nil })
}

// broken is an Agent that violates the contract of a Verifier.
type broken struct {
	*verify.Principal
	err error
	how string
}

func (b broken) Verify(context.Context, string) (*verify.Principal, error) {
	if b.how != "" {
		panic(b.how)
	}
	return b.Principal, b.err
}
func (broken) Ready() bool              { return true }
func (broken) Updated() <-chan struct{} { return nil }

func TestP5_ExtAuthzFailsClosed(t *testing.T) {
	t.Parallel()
	for name, b := range map[string]broken{
		"yes without a principal": {},
		"an error of its own":     {err: errors.New("of " + good)},
		"a panic":                 {how: "with " + good},
	} {
		c, log := front(t, b, "tcp")
		answer := check(t, c, raw("dapr-api-token", good))
		if answer.GetStatus().GetCode() != int32(codes.Unavailable) || answer.GetDeniedResponse().GetStatus().GetCode() != typev3.StatusCode_ServiceUnavailable {
			t.Errorf("%s: %v", name, answer)
		}
		if out := prototext.Format(answer) + log.String(); strings.Contains(out, "CANARY") {
			t.Errorf("%s: a token is shown in %s", name, out)
		}
		if b.how != "" && !strings.Contains(log.String(), "panicked") {
			t.Errorf("%s: not logged", name)
		}
	}
}

func TestCheckRecordsUsesOfThePreviousToken(t *testing.T) {
	t.Parallel()
	a, path := startAgent(t, old, (&testlog.Log{}).Logger())
	c, _ := front(t, a, "tcp")
	write(t, path, good)
	if _, err := a.Reload(); err != nil {
		t.Fatal(err)
	}
	check(t, c, joined("dapr-api-token", good))
	check(t, c, joined("dapr-api-token", bad))
	check(t, c, joined())
	check(t, c, raw("authorization", "Bearer "+old))
	registry, page := prometheus.NewRegistry(), httptest.NewRecorder()
	registry.MustRegister(a)
	promhttp.HandlerFor(registry, promhttp.HandlerOpts{}).ServeHTTP(page, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	for _, line := range []string{
		`{method="token",result="ok",slot="current",source="token"} 1`,
		`{method="token",result="ok",slot="previous",source="token"} 1`,
		`{method="token",result="invalid",slot="",source=""} 1`,
		`{method="token",result="missing",slot="",source=""} 1`,
	} {
		if !strings.Contains(page.Body.String(), "tokenagent_verifications_total"+line+"\n") {
			t.Errorf("no line %s in\n%s", line, page.Body)
		}
	}
	s := a.Status().Sources[0]
	found := false
	for _, u := range s.PreviousUsers {
		found = found || u.Host == "192.0.2.7"
	}
	if !found {
		t.Errorf("the host that used the old token is not listed: %+v", s)
	}
}

// TestP7_ExtAuthzShowsNoToken: no answer and no log line contains a token.
func TestP7_ExtAuthzShowsNoToken(t *testing.T) {
	t.Parallel()
	log := &testlog.Log{}
	a, path := startAgent(t, old, log.Logger())
	c, own := front(t, a, "tcp")
	write(t, path, good)
	if _, err := a.Reload(); err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	for _, token := range []string{good, old, bad} {
		for _, r := range []*authv3.CheckRequest{
			joined("dapr-api-token", token), raw("authorization", "Bearer "+token), raw("dapr-api-token", token, "dapr-api-token", token),
			joined("x-tokenagent-subject", token, "dapr-api-token", good), joined(token, token),
		} {
			out.WriteString(prototext.Format(check(t, c, r)))
		}
	}
	// The transport refuses this one, because it is too large.
	huge := joined("dapr-api-token", good, "x", strings.Repeat(bad, maxMessageBytes/len(bad)+1))
	_, err := c.Check(t.Context(), huge)
	if status.Code(err) != codes.ResourceExhausted {
		t.Errorf("a message over the limit: %v", err)
	}
	out.WriteString(err.Error())
	if all := out.String() + log.String() + own.String(); strings.Contains(all, "CANARY") {
		t.Errorf("a token is shown:\n%s", all)
	}
}
