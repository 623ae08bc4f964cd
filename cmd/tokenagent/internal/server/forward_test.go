package server

import (
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"

	"github.com/tokenagent/tokenagent/agent"
)

func TestForwardAuth(t *testing.T) {
	t.Parallel()
	a, _ := startAgent(t, good)
	base := front(t, a, Options{})
	for _, method := range []string{"GET", "POST", "HEAD", "OPTIONS", "PURGE"} {
		for _, path := range []string{"/", "/any/where?x=1", "/healthz", "/grpc.health.v1.Health/Check"} {
			r := ask(t, method, base+path, "dapr-api-token: "+good)
			if r.code != http.StatusOK || r.body != "" {
				t.Errorf("%s %s: %d %q", method, path, r.code, r.body)
			}
			if r.Get("X-Tokenagent-Subject") != "token" || r.Get("X-Tokenagent-Method") != "token" {
				t.Errorf("%s %s: identity %v", method, path, r.Header)
			}
			for name, headers := range map[string][]string{
				"none": nil, "wrong": {"dapr-api-token: " + bad}, "empty": {"dapr-api-token: "},
				"empty decides": {"dapr-api-token: ", "Authorization: Bearer " + good},
				"twice":         {"dapr-api-token: " + good, "dapr-api-token: " + good},
				"basic":         {"Authorization: Basic " + good},
				"gRPC":          {"Content-Type: application/grpc"},
			} {
				r := ask(t, method, base+path, headers...)
				if r.code != http.StatusUnauthorized || !strings.HasPrefix(r.Get("WWW-Authenticate"), "Bearer ") || r.Get("X-Tokenagent-Subject")+r.Get("X-Tokenagent-Method") != "" {
					t.Errorf("%s %s, %s: %d %v", method, path, name, r.code, r.Header)
				}
			}
		}
	}
	if r := ask(t, "GET", base, "Authorization: bEaReR "+good); r.code != http.StatusOK {
		t.Errorf("bearer: %d", r.code)
	}
}

// TestP5_OptionsAsteriskIsRefused: net/http would answer it with 200.
func TestP5_OptionsAsteriskIsRefused(t *testing.T) {
	t.Parallel()
	a, _ := startAgent(t, good)
	for name, base := range map[string]string{"forward-auth": front(t, a, Options{}), "proxy": front(t, a, Options{Upstream: app(t, echo())})} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodOptions, base, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.URL.Opaque = "*"
		res, err := client(t).Do(r)
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		if res.StatusCode != http.StatusUnauthorized {
			t.Errorf("%s: %d", name, res.StatusCode)
		}
	}
}

func TestForwardAuthWithAConfiguredHeader(t *testing.T) {
	t.Parallel()
	a, _ := startAgent(t, good)
	base := front(t, a, Options{}, "X-App-Token")
	if r := ask(t, "GET", base, "X-App-Token: "+good); r.code != http.StatusOK {
		t.Errorf("the configured header: %d", r.code)
	}
	if r := ask(t, "GET", base, "dapr-api-token: "+good); r.code != http.StatusUnauthorized {
		t.Errorf("the default header beside a configured one: %d", r.code)
	}
}

// TestP5_NotLoadedIsRefused: the answer is 503 with Retry-After, also for a good token.
func TestP5_NotLoadedIsRefused(t *testing.T) {
	t.Parallel()
	a, path := startAgent(t, "")
	base := front(t, a, Options{})
	for _, headers := range [][]string{nil, {"dapr-api-token: " + good}} {
		if r := ask(t, "GET", base, headers...); r.code != http.StatusServiceUnavailable || r.Get("Retry-After") == "" {
			t.Errorf("%d %v", r.code, r.Header)
		}
	}
	write(t, path, good)
	until(t, "it is loaded", func() bool { return ask(t, "GET", base, "dapr-api-token: "+good).code == http.StatusOK })
}

func TestAdminPort(t *testing.T) {
	t.Parallel()
	o := Options{Logger: slog.New(slog.DiscardHandler)}
	a, path := startAgent(t, "")
	d := &daemon{Options: o, realms: single(a, o)}
	base := serve(t, d.adminServer(nil))
	if r := ask(t, "GET", base+"/readyz"); r.code != http.StatusServiceUnavailable {
		t.Errorf("readyz before the source: %d", r.code)
	}
	if r := ask(t, "GET", base+"/livez"); r.code != http.StatusOK {
		t.Errorf("livez: %d", r.code)
	}
	write(t, path, good+"\n"+next+" next")
	until(t, "readyz is 200", func() bool { return ask(t, "GET", base+"/readyz").code == http.StatusOK })
	write(t, path, "short")
	until(t, "the error shows", func() bool { return strings.Contains(ask(t, "GET", base+"/status").body, "shorter than 16") })
	if r := ask(t, "GET", base+"/readyz"); r.code != http.StatusOK {
		t.Errorf("readyz on the last good content: %d", r.code)
	}
	var s agent.Status
	if err := json.Unmarshal([]byte(ask(t, "GET", base+"/status").body), &s); err != nil || s.Schema != 1 {
		t.Errorf("status: schema %d, %v", s.Schema, err)
	}
	if len(s.Sources) != 1 || len(s.Sources[0].Tokens) != 2 {
		t.Errorf("status: %+v; want one source with two tokens", s)
	}
	for p, want := range map[string]string{"/metrics": `tokenagent_accepted_tokens{slot="next",source="token"} 1`, "/": "shorter than 16"} {
		if r := ask(t, "GET", base+p); r.code != http.StatusOK || !strings.Contains(r.body, want) {
			t.Errorf("%s: %d\n%s", p, r.code, r.body)
		}
	}
	for _, p := range []string{"/metrics", "/status", "/", "/readyz"} {
		if r := ask(t, "GET", base+p); strings.Contains(r.body, "CANARY") {
			t.Errorf("%s shows a token", p)
		}
		if r := ask(t, "POST", base+p); r.code != http.StatusMethodNotAllowed {
			t.Errorf("POST %s: %d", p, r.code)
		}
	}
	d.draining.Store(true)
	if r := ask(t, "GET", base+"/readyz"); r.code != http.StatusServiceUnavailable {
		t.Errorf("readyz while draining: %d", r.code)
	}
}

func TestReadyzAnswersWhileRequestsDrain(t *testing.T) {
	t.Parallel()
	a, _ := startAgent(t, good)
	entered, release := make(chan struct{}), make(chan struct{})
	upstream := app(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		close(entered)
		<-release
		_, _ = io.WriteString(w, "whole")
	}))
	d := runDaemon(t, a, Options{Upstream: upstream})
	answer := make(chan reply, 1)
	go func() { answer <- ask(t, "GET", d.main, "dapr-api-token: "+good) }()
	<-entered
	d.stop()
	until(t, "readyz tells", func() bool { return ask(t, "GET", d.admin+"/readyz").code == http.StatusServiceUnavailable })
	close(release)
	if r := <-answer; r.code != http.StatusOK || r.body != "whole" {
		t.Errorf("a request was cut off: %d %q", r.code, r.body)
	}
	if err := <-d.ended; err != nil {
		t.Errorf("run: %v", err)
	}
}
