package jwks

import (
	"encoding/json"
	"net/http"
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
	s, err := Kubernetes("10.96.0.1:443", RemoteOptions{Client: &http.Client{Transport: p}})
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

// TestP4_KubernetesWithoutItsNameKeepsTheLastOne: without the metadata there are no new keys,
// and the error says what to do. The names that were learned stay.
func TestP4_KubernetesWithoutItsNameKeepsTheLastOne(t *testing.T) {
	t.Parallel()
	keys := string(set(newEC(t).jwk("kid", "a")))
	answer := replied{code: 200, body: `{"issuer":"https://a.example"}`}
	s, _ := inCluster(t, keys, func() replied { return answer })
	if s.IsIssuer("https://a.example") || s.IsIssuer("") {
		t.Error("a name is accepted before the API server was asked")
	}
	check(t, readAnew(t, s))
	for want, bad := range map[string]replied{
		"answers 403 to the question for its issuer; bind": {code: 403},
		"does not name its issuer":                         {code: 200, body: `{"issuer":""}`},
		"does not name its issuer; set its":                {code: 200, body: "CANARY"},
		"no answer in HTTP":                                {err: http.ErrUseLastResponse},
	} {
		answer = bad
		if err := readAnew(t, s); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "CANARY") {
			t.Errorf("%v, want %q", err, want)
		}
		if !s.IsIssuer("https://a.example") {
			t.Errorf("%s: the name is forgotten", want)
		}
	}
	for i := range 2 * maxIssuers {
		answer = replied{code: 200, body: `{"issuer":"` + strconv.Itoa(i) + `"}`}
		check(t, readAnew(t, s))
	}
	if names := *s.issuers.Load(); len(names) != maxIssuers || names[0] != strconv.Itoa(2*maxIssuers-1) {
		t.Errorf("%q", names)
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
