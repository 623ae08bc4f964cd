package httpauth_test

import (
	"context"
	"errors"
	"net/http"
	"reflect"
	"strings"
	"testing"

	"github.com/tokenagent/tokenagent/pkg/verify"
	"github.com/tokenagent/tokenagent/pkg/verify/httpauth"
)

func TestWhichHeaderDecides(t *testing.T) {
	custom := []string{"x-api-KEY"}
	reversed := []string{"Authorization", "dapr-api-token"}
	for name, c := range map[string]struct {
		headers []string
		fields  []string
		asked   string
		status  int
	}{
		"dapr":                                 {nil, []string{"dapr-api-token", good}, good, 204},
		"dapr, any case":                       {nil, []string{"DAPR-API-TOKEN", good}, good, 204},
		"bearer":                               {nil, []string{"Authorization", "bEARER " + good}, good, 204},
		"dapr beats bearer":                    {nil, []string{"Authorization", "Bearer wrong", "dapr-api-token", good}, good, 204},
		"a wrong dapr beats a good bearer":     {nil, []string{"Authorization", "Bearer " + good, "dapr-api-token", "wrong"}, "wrong", 401},
		"an empty dapr beats a good bearer":    {nil, []string{"Authorization", "Bearer " + good, "dapr-api-token", ""}, "", 401},
		"dapr with a scheme":                   {nil, []string{"dapr-api-token", "Bearer " + good}, "Bearer " + good, 401},
		"none":                                 {nil, nil, "", 401},
		"an end user's basic":                  {nil, []string{"Authorization", "Basic dTpw"}, "", 401},
		"bare token in authorization":          {nil, []string{"Authorization", good}, "", 401},
		"empty authorization":                  {nil, []string{"Authorization", ""}, "", 401},
		"proxy-authorization":                  {nil, []string{"Proxy-Authorization", "Bearer " + good}, "", 401},
		"dapr twice":                           {nil, []string{"dapr-api-token", good, "Dapr-Api-Token", good}, verify.Malformed, 401},
		"dapr twice, one empty":                {nil, []string{"dapr-api-token", "", "dapr-api-token", good}, verify.Malformed, 401},
		"dapr twice, and a good bearer":        {nil, []string{"dapr-api-token", good, "dapr-api-token", good, "Authorization", "Bearer " + good}, verify.Malformed, 401},
		"authorization twice":                  {nil, []string{"Authorization", "Bearer " + good, "authorization", "Bearer " + good}, verify.Malformed, 401},
		"authorization twice, dapr decides":    {nil, []string{"Authorization", "Bearer a", "authorization", "Bearer b", "dapr-api-token", good}, good, 204},
		"two tokens in one value":              {nil, []string{"dapr-api-token", good + ", " + good}, good + ", " + good, 401},
		"custom":                               {custom, []string{"X-Api-Key", good}, good, 204},
		"custom replaces the default":          {custom, []string{"dapr-api-token", good, "Authorization", "Bearer " + good}, "", 401},
		"configured authorization is bearer":   {[]string{"AUTHORIZATION"}, []string{"Authorization", "Bearer " + good}, good, 204},
		"configured order":                     {reversed, []string{"dapr-api-token", "wrong", "Authorization", "Bearer " + good}, good, 204},
		"configured order, other scheme":       {reversed, []string{"dapr-api-token", good, "Authorization", "Basic dTpw"}, "", 401},
		"configured order, second alone":       {reversed, []string{"dapr-api-token", good}, good, 204},
		"a longer name is another header":      {nil, []string{"dapr-api-token-x", good}, "", 401},
		"an underscore is another header":      {nil, []string{"dapr_api_token", good}, "", 401},
		"the token in a cookie is no token":    {nil, []string{"Cookie", "dapr-api-token=" + good}, "", 401},
		"blanks around it are not ours to cut": {nil, []string{"dapr-api-token", " " + good}, " " + good, 401},
	} {
		t.Run(name, func(t *testing.T) {
			v := &fake{}
			w, inner := do(v, httpauth.Options{Headers: c.headers}, get("/", c.fields...))
			if asked := v.take(); !reflect.DeepEqual(asked, []string{c.asked}) {
				t.Errorf("the verifier was asked %q, want %q once", asked, c.asked)
			}
			if w.Code != c.status || (inner != nil) != (c.status == 204) {
				t.Errorf("status %d, handler reached: %t; want %d", w.Code, inner != nil, c.status)
			}
		})
	}
}

// TestHeaderWithoutValuesIsAbsent: code that builds a request may leave such a header.
func TestHeaderWithoutValuesIsAbsent(t *testing.T) {
	for _, none := range [][]string{nil, {}} {
		v := &fake{}
		r := get("/", "Authorization", "Bearer "+good)
		r.Header["Dapr-Api-Token"] = none
		w, inner := do(v, httpauth.Options{}, r)
		if asked := v.take(); w.Code != 204 || !reflect.DeepEqual(asked, []string{good}) {
			t.Errorf("%#v: status %d, the verifier was asked %q", none, w.Code, asked)
		}
		if inner != nil && len(inner.Header["Dapr-Api-Token"])+len(inner.Header["Authorization"]) > 0 {
			t.Errorf("%#v: the handler sees %v", none, inner.Header)
		}
	}
}

func TestTokenInURLIsNoToken(t *testing.T) {
	v := &fake{}
	if w, _ := do(v, httpauth.Options{}, get("/?access_token="+good+"&dapr-api-token="+good)); w.Code != 401 {
		t.Errorf("a token in the query is answered %d", w.Code)
	}
}

// TestTokenIsRemoved: the handler of an accepted or exempt request sees all headers
// except the token's.
func TestTokenIsRemoved(t *testing.T) {
	basic, bearer := "Basic dTpw", "Bearer "+good
	reversed := []string{"Authorization", "dapr-api-token", "X-Key"}
	for name, c := range map[string]struct {
		o      httpauth.Options
		fields []string
		want   http.Header
	}{
		"dapr":                      {httpauth.Options{}, []string{"dapr-api-token", good, "X-Other", "kept"}, http.Header{"X-Other": {"kept"}}},
		"bearer was the credential": {httpauth.Options{}, []string{"Authorization", bearer}, http.Header{}},
		"a user's basic stays":      {httpauth.Options{}, []string{"dapr-api-token", good, "Authorization", basic}, http.Header{"Authorization": {basic}}},
		"a user's bearer stays":     {httpauth.Options{}, []string{"dapr-api-token", good, "Authorization", "Bearer user"}, http.Header{"Authorization": {"Bearer user"}}},
		"kept, dapr":                {httpauth.Options{KeepHeader: true}, []string{"dapr-api-token", good}, http.Header{"Dapr-Api-Token": {good}}},
		"kept, bearer":              {httpauth.Options{KeepHeader: true}, []string{"Authorization", bearer}, http.Header{"Authorization": {bearer}}},
		"kept, and a header that did not decide goes": {
			httpauth.Options{KeepHeader: true, Headers: reversed},
			[]string{"dapr-api-token", good, "X-Key", "unchecked"},
			http.Header{"Dapr-Api-Token": {good}},
		},
		"kept, and goes where nobody has checked it": {
			httpauth.Options{KeepHeader: true, Exempt: []string{"/open"}},
			[]string{"dapr-api-token", good},
			http.Header{},
		},
		"a header that did not decide goes": {
			httpauth.Options{Headers: reversed},
			[]string{"Authorization", bearer, "dapr-api-token", "x", "dapr-api-token", "y", "X-Key", ""},
			http.Header{},
		},
		"authorization that did not decide stays": {
			httpauth.Options{Headers: []string{"x-key", "authorization", "dapr-api-token"}},
			[]string{"X-Key", good, "Authorization", bearer, "dapr-api-token", good},
			http.Header{"Authorization": {bearer}},
		},
		"exempt": {
			httpauth.Options{Exempt: []string{"/open"}},
			[]string{"dapr-api-token", good, "dapr-api-token", "twice", "X-Other", "kept"},
			http.Header{"X-Other": {"kept"}},
		},
		"exempt, authorization stays": {httpauth.Options{Exempt: []string{"/open"}}, []string{"Authorization", bearer}, http.Header{"Authorization": {bearer}}},
		"exempt, authorization first": {
			httpauth.Options{Headers: reversed, Exempt: []string{"/open"}},
			[]string{"Authorization", bearer, "X-Key", good},
			http.Header{"Authorization": {bearer}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := get("/open", c.fields...)
			_, inner := do(&fake{}, c.o, r)
			if inner == nil {
				t.Fatal("refused")
			}
			if !reflect.DeepEqual(inner.Header, c.want) {
				t.Errorf("the handler sees %v, want %v", inner.Header, c.want)
			}
			if !reflect.DeepEqual(r.Header, c.want) {
				t.Errorf("outside, %v is left, want %v", r.Header, c.want)
			}
		})
	}
}

func TestPrincipalInContext(t *testing.T) {
	_, inner := do(&fake{}, httpauth.Options{Exempt: []string{"/open"}}, get("/", "dapr-api-token", good))
	if p, ok := verify.FromContext(inner.Context()); !ok || p != current {
		t.Errorf("the handler finds %v, %t", p, ok)
	}
	_, inner = do(&fake{}, httpauth.Options{WithoutPrincipal: true}, get("/", "dapr-api-token", good))
	if p, ok := verify.FromContext(inner.Context()); ok {
		t.Errorf("WithoutPrincipal: the handler finds %v", p)
	}
	_, inner = do(&fake{}, httpauth.Options{Exempt: []string{"/open"}}, get("/open", "dapr-api-token", good))
	if p, ok := verify.FromContext(inner.Context()); ok {
		t.Errorf("exempt: the handler finds %v", p)
	}
}

func TestPreviousUseIsRecorded(t *testing.T) {
	v := &fake{}
	for _, token := range []string{good, old, expired, "wrong", "", old} {
		r := get("/", "dapr-api-token", token)
		r.RemoteAddr = "192.0.2.7:40" + string(rune('0'+len(v.recorded)))
		do(v, httpauth.Options{}, r)
	}
	want := []string{"previous 192.0.2.7:400", "previous 192.0.2.7:401"}
	if !reflect.DeepEqual(v.recorded, want) {
		t.Errorf("recorded %q, want %q", v.recorded, want)
	}
	// A Verifier that is no PreviousUseRecorder records nothing.
	plain := verify.VerifierFunc(v.Verify)
	if w, _ := do(plain, httpauth.Options{}, get("/", "dapr-api-token", old)); w.Code != 204 || len(v.recorded) != 2 {
		t.Errorf("status %d, recorded %q", w.Code, v.recorded)
	}
}

func TestGuardAuthenticates(t *testing.T) {
	g := httpauth.New(&fake{}, httpauth.Options{Exempt: []string{"/open"}})
	for name, c := range map[string]struct {
		path, token string
		want        *verify.Principal
		err         error
		left        string // of the header
	}{
		"accepted": {"/", good, current, nil, ""},
		"exempt":   {"/open", good, nil, nil, ""},
		"refused":  {"/", revoked, nil, verify.ErrRevokedToken, revoked},
		"no token": {"/", "", nil, verify.ErrNoToken, ""},
	} {
		r := get(c.path, "dapr-api-token", c.token)
		p, err := g.Authenticate(r)
		if p != c.want || !errors.Is(err, c.err) || r.Header.Get("Dapr-Api-Token") != c.left {
			t.Errorf("%s: Authenticate = %v, %v, and leaves the header %q; want %v, %v, %q", name, p, err, r.Header.Get("Dapr-Api-Token"), c.want, c.err, c.left)
		}
		if err != nil && strings.Contains(err.Error(), "canary") {
			t.Errorf("%s: the error holds the token: %v", name, err)
		}
	}
}

func TestGuardHeaders(t *testing.T) {
	t.Parallel()
	v := verify.VerifierFunc(func(context.Context, string) (*verify.Principal, error) { return nil, verify.ErrNoToken })
	for want, names := range map[string][]string{
		"Dapr-Api-Token Authorization": nil,
		"X-B X-A":                      {"x-b", "X-A"},
	} {
		g := httpauth.New(v, httpauth.Options{Headers: names})
		if got := strings.Join(g.Headers(), " "); got != want {
			t.Errorf("%q: %q, not %q", names, got, want)
		}
		g.Headers()[0] = "changed"
		if got := strings.Join(g.Headers(), " "); got != want {
			t.Errorf("%q: the Guard sees the caller's change: %q", names, got)
		}
	}
}
