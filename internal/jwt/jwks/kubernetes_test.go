package jwks

import (
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// inCluster returns a source whose API server answers with keys and metadata.
func inCluster(t *testing.T, keys string, metadata func() replied) (*RemoteSource, *provider) {
	t.Helper()
	p := &provider{answer: func(r *http.Request) replied {
		if r.URL.Path == "/.well-known/openid-configuration" {
			return metadata()
		}
		return replied{code: 200, body: keys, headers: []string{"Cache-Control", "public, max-age=3600"}}
	}}
	s, err := Kubernetes("10.96.0.1:443", true, RemoteOptions{Client: &http.Client{Transport: p}})
	check(t, err)
	return s, p
}

// TestKubernetesIsAskedEveryMinute, although it says that its answers are fresh for an hour.
func TestKubernetesIsAskedEveryMinute(t *testing.T) {
	t.Parallel()
	keys := string(set(newEC(t).jwk("kid", "a")))
	synctest.Test(t, func(t *testing.T) {
		s, p := inCluster(t, keys, func() replied { return replied{code: 200, body: `{"issuer":"https://a.example"}`} })
		for range 10 * 60 {
			if _, err := s.Read(t.Context(), maxBytes); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Second)
		}
		if n := p.count(); n < 2*10 || n > 2*12 {
			t.Errorf("%d requests in ten minutes", n)
		}
	})
}

// TestP4_KubernetesWithoutItsNameKeepsTheLastOne: without the metadata there are no keys until
// a name is known. Later the keys are read all the same, and the error beside them says what to
// do. The names that were learned stay.
func TestP4_KubernetesWithoutItsNameKeepsTheLastOne(t *testing.T) {
	t.Parallel()
	keys := string(set(newEC(t).jwk("kid", "a")))
	answer := replied{code: 200, body: `{"issuer":"https://a.example"}`}
	s, p := inCluster(t, keys, func() replied { return answer })
	if names := s.Issuers(); len(names) > 0 {
		t.Errorf("the names %q before the API server was asked", names)
	}
	answer.code = 403
	if err := readAnew(t, s); err == nil || !strings.Contains(err.Error(), "answers 403 to the question for its issuer") || s.SideError() != nil {
		t.Errorf("without a name: %v, beside it %v", err, s.SideError())
	}
	answer.code = 200
	check(t, readAnew(t, s))
	for want, bad := range map[string]replied{
		"answers 403 to the question for its issuer; bind": {code: 403},
		"does not name its issuer":                         {code: 200, body: `{"issuer":""}`},
		"does not name its issuer; set its":                {code: 200, body: "CANARY"},
		"no answer in HTTP":                                {err: http.ErrUseLastResponse},
	} {
		answer = bad
		before := p.count()
		check(t, readAnew(t, s))
		if n := p.count() - before; n != 2 {
			t.Errorf("%s: %d requests, want one for the name and one for the keys", want, n)
		}
		if err := s.SideError(); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "CANARY") {
			t.Errorf("%v, want %q", err, want)
		}
		if !slices.Equal(s.Issuers(), []string{"https://a.example"}) {
			t.Errorf("%s: the name is forgotten", want)
		}
	}
	for i := range 2 * maxIssuers {
		answer = replied{code: 200, body: `{"issuer":"` + strconv.Itoa(i) + `"}`}
		check(t, readAnew(t, s))
	}
	if names := s.Issuers(); s.SideError() != nil || len(names) != maxIssuers || names[0] != strconv.Itoa(2*maxIssuers-1) {
		t.Errorf("%q", names)
	}
}

// TestKubernetesWithAGivenIssuer needs no metadata, and asks for none.
func TestKubernetesWithAGivenIssuer(t *testing.T) {
	t.Parallel()
	p := &provider{answer: says(200, string(set(newEC(t).jwk("kid", "a"))))}
	s, err := Kubernetes("10.96.0.1:443", false, RemoteOptions{Client: &http.Client{Transport: p}})
	check(t, err, readAnew(t, s), s.SideError())
	if n := p.count(); n != 1 {
		t.Errorf("%d requests, want one for the keys", n)
	}
}

func FuzzParseIssuer(f *testing.F) {
	for _, seed := range []string{`{"issuer":"https://a.example","jwks_uri":"https://b.example"}`, `{"Issuer":"a"}`, `{"issuer":"a","issuer":"b"}`, `{"issuer":1}`, `[]`, "null", ""} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		name := parseIssuer(text)
		if name == "" {
			return
		}
		var plain map[string]any
		if err := json.Unmarshal(text, &plain); err != nil || plain["issuer"] != name {
			t.Errorf("%q of %q, %v", name, text, err)
		}
	})
}
