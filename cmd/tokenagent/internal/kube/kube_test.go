package kube_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/kube"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/kube/kubetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type object = kubetest.Object

const canary = "Q0FOQVJZLTFjM2E5ZS1vbmUt"

func client(t *testing.T, rt http.RoundTripper) *kube.Client {
	t.Helper()
	c, err := kube.New("https://api.example", rt)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func secretOf(labels object) object {
	return object{"apiVersion": "v1", "kind": "Secret", "metadata": object{"labels": labels}, "data": object{"token": canary}}
}

func TestReplaceSecret(t *testing.T) {
	api := &kubetest.Server{}
	path := "/api/v1/namespaces/app/secrets/token"
	api.Put(path, secretOf(nil))
	c := client(t, api)
	s, err := c.Secret(t.Context(), "app", "token")
	if err != nil {
		t.Fatal(err)
	}
	changed := s
	changed.JSON = []byte(strings.Replace(string(s.JSON), canary, "bmV3", 1))
	if _, err := c.Replace(t.Context(), changed, true); err != nil || api.Get(path)["data"].(object)["token"] != canary {
		t.Errorf("a dry run: %v, %v", err, api.Get(path)["data"])
	}
	after, err := c.Replace(t.Context(), changed, false)
	if err != nil || api.Get(path)["data"].(object)["token"] != "bmV3" {
		t.Errorf("%v, %v", err, api.Get(path)["data"])
	}
	if _, err := c.Replace(t.Context(), changed, false); !kube.Is(err, kube.Conflict) {
		t.Errorf("replaced a Secret that had changed: %v", err)
	}
	if _, err := c.Replace(t.Context(), after, false); err != nil {
		t.Errorf("with what Replace returned: %v", err)
	}
}

// A list has several pages, of one namespace or of all, and only what the selector matches.
func TestSecretsOfSeveralNamespaces(t *testing.T) {
	api := &kubetest.Server{}
	for i := range 120 {
		labels := object{"group": "app"}
		if i%3 == 0 {
			labels = object{"group": "other"}
		}
		api.Put(fmt.Sprintf("/api/v1/namespaces/ns%d/secrets/token", i), secretOf(labels))
	}
	c := client(t, api)
	all, err := c.Secrets(t.Context(), "", "group=app")
	if err != nil || len(all) != 80 {
		t.Fatalf("%d, %v", len(all), err)
	}
	var head struct{ Kind, APIVersion string }
	if err := json.Unmarshal(all[0].JSON, &head); err != nil || head.Kind != "Secret" || head.APIVersion != "v1" || all[0].Namespace == "" || all[0].Name != "token" {
		t.Errorf("%+v, %s/%s", head, all[0].Namespace, all[0].Name)
	}
	if n := len(api.Requests()); n != 2 {
		t.Errorf("it took %d requests", n)
	}
	if one, err := c.Secrets(t.Context(), "ns1", "group=app"); err != nil || len(one) != 1 {
		t.Errorf("%d, %v", len(one), err)
	}
}

// An answer is what the server gives to one request.
type reply struct {
	code   int
	header map[string]string
	body   string
}

type script struct {
	replies []reply
	asked   int
}

func (s *script) RoundTrip(req *http.Request) (*http.Response, error) {
	r := s.replies[min(s.asked, len(s.replies)-1)]
	s.asked++
	if r.code == 0 {
		return nil, errors.New("connection reset")
	}
	w := httptest.NewRecorder()
	for name, value := range r.header {
		w.Header().Set(name, value)
	}
	w.WriteHeader(r.code)
	_, _ = io.WriteString(w, r.body)
	return w.Result(), nil
}

func TestRequestThatIsPutOffIsSentAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &script{replies: []reply{
			{code: 429, header: map[string]string{"Retry-After": "7"}},
			{code: 503, body: `{"kind":"Status","details":{"retryAfterSeconds":3}}`},
			{code: 429},
			{code: 200, body: `{}`},
		}}
		begun := time.Now()
		if _, err := client(t, s).Secret(t.Context(), "app", "token"); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(begun); took != 11*time.Second || s.asked != 4 {
			t.Errorf("%d requests took %v", s.asked, took)
		}
		s = &script{replies: []reply{{code: 429}}}
		_, err := client(t, s).Secret(t.Context(), "app", "token")
		if !kube.Is(err, kube.TooMany) || s.asked != 5 {
			t.Errorf("%d requests, %v", s.asked, err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		s = &script{replies: []reply{{code: 429, header: map[string]string{"Retry-After": "60"}}}}
		begun = time.Now()
		if _, err := client(t, s).Secret(ctx, "app", "token"); err == nil || time.Since(begun) != time.Second {
			t.Errorf("%v after %v", err, time.Since(begun))
		}
	})
}

func TestErrorsNameTheObjectAndTheFix(t *testing.T) {
	status := func(reason, message string) string {
		text, _ := json.Marshal(object{"kind": "Status", "reason": reason, "message": message})
		return string(text)
	}
	for name, test := range map[string]struct {
		reply
		reason    kube.Reason
		temporary bool
		says      string
	}{
		"no answer":    {reply{}, kube.Unreachable, true, "secret app/token: get: no answer from the API server (connection reset)"},
		"half":         {reply{code: 200, body: `{"kind":"Sec`}, kube.Broken, true, "is not what the Kubernetes API says"},
		"unauthorized": {reply{code: 401, body: status("Unauthorized", "Unauthorized")}, kube.Unauthorized, false, "log in again"},
		"forbidden":    {reply{code: 403, body: status("Forbidden", "no rule")}, kube.Forbidden, false, "forbidden (no rule); allow the verb get on secrets there"},
		"not found":    {reply{code: 404, body: status("NotFound", "x")}, kube.NotFound, false, "check the name and the namespace"},
		"a proxy":      {reply{code: 404, body: "<html>"}, kube.NotFound, false, "not found"},
		"conflict":     {reply{code: 409, body: status("Conflict", "x")}, kube.Conflict, true, "somebody else changed it"},
		"exists":       {reply{code: 409, body: status("AlreadyExists", "x")}, kube.AlreadyExists, false, "exists already"},
		"gone":         {reply{code: 410, body: status("Expired", "x")}, kube.Expired, true, "try again"},
		"internal":     {reply{code: 500, body: status("InternalError", "etcd \x1b[2J")}, "InternalError", true, `the API server answers 500 InternalError (etcd \u001b[2J)`},
		"a gateway":    {reply{code: 502}, "", true, "answers 502 with an error"},
		"a redirect":   {reply{code: 302, header: map[string]string{"Location": "https://evil.example"}}, "", false, "answers 302"},
	} {
		_, err := client(t, &script{replies: []reply{test.reply}}).Secret(t.Context(), "app", "token")
		e, is := errors.AsType[*kube.Error](err)
		if !is || e.Reason != test.reason || e.Temporary() != test.temporary || !strings.Contains(e.Error(), test.says) || strings.ContainsRune(err.Error(), 0x1b) {
			t.Errorf("%s: %#v: %v", name, e, err)
		}
	}
	s := kube.Secret{Namespace: "app", Name: "token", JSON: []byte(canary)}
	_, err := client(t, &script{replies: []reply{{code: 422, body: status("Invalid", "bad value "+canary)}}}).Replace(t.Context(), s, false)
	if !kube.Is(err, kube.Invalid) || strings.Contains(err.Error(), canary) {
		t.Errorf("the error quotes the Secret: %v", err)
	}
}

// The API server's clock counts, so a change of this machine's clock does not matter.
func TestNowIsTheServersTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		at := time.Now().Add(-48 * time.Hour).UTC().Truncate(time.Second)
		c := client(t, &script{replies: []reply{{code: 200, body: `{}`, header: map[string]string{"Date": at.Format(http.TimeFormat)}}}})
		if !c.Now().Equal(time.Now()) {
			t.Error("without an answer it is not our time")
		}
		if _, err := c.Secret(t.Context(), "app", "token"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Second)
		if got := c.Now(); !got.Equal(at.Add(5 * time.Second)) {
			t.Errorf("%v, want %v", got, at.Add(5*time.Second))
		}
	})
}

func TestEndpointsAreThePodsBehindAService(t *testing.T) {
	api := &kubetest.Server{}
	slice := func(name, service string, addresses ...string) {
		var endpoints []any
		for _, a := range addresses {
			endpoints = append(endpoints, object{"addresses": []any{a}, "conditions": object{"ready": false}})
		}
		api.Put("/apis/discovery.k8s.io/v1/namespaces/"+name, object{"metadata": object{"labels": object{"kubernetes.io/service-name": service}}, "endpoints": endpoints})
	}
	slice("app/endpointslices/a", "agents", "10.0.0.2", "10.0.0.1")
	slice("app/endpointslices/b", "agents", "10.0.0.1", "fd00::1")
	slice("app/endpointslices/c", "other", "10.0.0.9")
	slice("shop/endpointslices/a", "agents", "10.0.1.1")
	c := client(t, api)
	got, err := c.Endpoints(t.Context(), "app", "agents")
	if err != nil || len(got) != 1 || !slices.Equal(got["app"], []string{"10.0.0.1", "10.0.0.2", "fd00::1"}) {
		t.Errorf("%v, %v", got, err)
	}
	if got, err = c.Endpoints(t.Context(), "", "agents"); err != nil || len(got) != 2 {
		t.Errorf("%v, %v", got, err)
	}
}

func TestEventIsCreatedOnce(t *testing.T) {
	api := &kubetest.Server{}
	api.Put("/api/v1/namespaces/app/secrets/token", object{"metadata": object{"uid": "u1"}})
	c := client(t, api)
	s, err := c.Secret(t.Context(), "app", "token")
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := c.Report(t.Context(), s, kube.Event{Name: "token.1.staged", Reason: "RotationStaged", Message: "m"}); err != nil {
			t.Error(err)
		}
	}
	e := api.Get("/api/v1/namespaces/app/events/token.1.staged")
	if e["reason"] != "RotationStaged" || e["type"] != "Normal" || e["involvedObject"].(object)["uid"] != "u1" {
		t.Errorf("%v", e)
	}
}
