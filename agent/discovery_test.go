package agent_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tokenagent/tokenagent/agent"
)

// A site answers GET requests for paths. Any other path is not found.
type site struct {
	*httptest.Server

	pages atomic.Pointer[map[string]string]
}

func newSite(t *testing.T) *site {
	t.Helper()
	s := new(site)
	s.pages.Store(&map[string]string{})
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		text, ok := (*s.pages.Load())[r.URL.Path]
		if !ok {
			w.WriteHeader(http.StatusNotFound)
		}
		_, _ = io.WriteString(w, text)
	}))
	t.Cleanup(s.Close)
	return s
}

const wellKnown = "/.well-known/openid-configuration"

// metadata returns the metadata document of iss, whose keys are at keys.
func metadata(iss, keys string) string { return fmt.Sprintf(`{"issuer":%q,"jwks_uri":%q}`, iss, keys) }

// found returns an Issuer whose keys are discovered.
func found(name, iss string) agent.Issuer {
	return agent.Issuer{Name: name, JWT: agent.JWT{Issuer: iss, Audiences: []string{"orders"}}}
}

// TestP4_DiscoveredKeysSurviveBadMetadata: keys that were discovered stay accepted when the
// metadata becomes bad, names another issuer, or leads to keys of somebody else that are
// not valid. They rotate where they were found.
func TestP4_DiscoveredKeysSurviveBadMetadata(t *testing.T) {
	t.Parallel()
	web, other := newSite(t), newSite(t)
	a, next, evil := newIssuer(t), newIssuer(t), newIssuer(t)
	set := func(i issuer) string { return `{"keys":[` + i.jwk("k") + `]}` }
	serve := func(document, keys string) { web.pages.Store(&map[string]string{wellKnown: document, "/keys": keys}) }
	other.pages.Store(&map[string]string{"/evil": set(evil), "/bad": `{"keys":[]}`})
	serve(metadata(web.URL, web.URL+"/keys"), set(a))
	cfg := withIssuers(found("idp", web.URL))
	cfg.StateFile = stateFile(t)
	ag := start(t, cfg)
	ofA, ofNext, ofEvil := a.signFor(t, web.URL, "k"), next.signFor(t, web.URL, "k"), evil.signFor(t, web.URL, "k")
	wantClass(t, ag, "at first", ofA, "ok")
	for _, document := range []string{
		"", "null", "<html>", metadata("https://evil.example", other.URL+"/evil"), metadata(web.URL+"/", other.URL+"/evil"),
		metadata(web.URL, "http://evil.example/keys"), metadata(web.URL, "file:///etc/passwd"), metadata(web.URL, other.URL+"/none"), metadata(web.URL, other.URL+"/bad"),
		`{"issuer":"` + web.URL + `",` + metadata(web.URL, other.URL+"/evil")[1:],
	} {
		serve(document, set(a))
		if _, err := ag.Reload(); err == nil {
			t.Errorf("%s: no error", document)
		}
		wantClass(t, ag, document, ofA, "ok")
		wantClass(t, ag, document+", by another key", ofEvil, "invalid")
		src := ag.Status().Sources[0]
		if src.Kind != "discovery" || src.Location != web.URL+"/keys" || src.Error == "" || src.LastReloadGood || !src.Ready {
			t.Errorf("%s: %+v", document, src)
		}
	}
	serve("<html>", set(next))
	if _, err := ag.Reload(); err == nil || !strings.Contains(err.Error(), web.URL+wellKnown) {
		t.Errorf("Reload: %v", err)
	}
	wantClass(t, ag, "rotated while the metadata is bad", ofNext, "ok")
	wantClass(t, ag, "the old key", ofA, "invalid")
	serve(metadata(web.URL, other.URL+"/evil"), set(next)) // the issuer decides where its keys are
	if _, err := ag.Reload(); err != nil {
		t.Error(err)
	}
	wantClass(t, ag, "moved", ofEvil, "ok")
	if src := ag.Status().Sources[0]; src.Location != other.URL+"/evil" || src.Error != "" {
		t.Errorf("%+v", src)
	}
	if metric(t, ag, `last_reload_successful{source="idp"}`) != "1" {
		t.Error("the metric shows an error")
	}
}

// TestIssuerWaitsForItsSource: an Agent starts and is ready without the keys of an issuer
// with WaitForSource, but not without any source, and not without the others.
func TestIssuerWaitsForItsSource(t *testing.T) {
	t.Parallel()
	web := newSite(t)
	a, b := newIssuer(t), newIssuer(t)
	pathA := filepath.Join(t.TempDir(), "keys")
	waiting := found("b", web.URL)
	if _, err := agent.Start(t.Context(), withIssuers(keysAt("a", issA, file(t, a.public)), waiting)); err == nil || !strings.Contains(err.Error(), web.URL+wellKnown) {
		t.Fatalf("Start without WaitForSource: %v", err)
	}
	waiting.WaitForSource = true
	if _, err := agent.Start(t.Context(), withIssuers(keysAt("a", issA, pathA), waiting)); err == nil || !strings.Contains(err.Error(), pathA) || strings.Contains(err.Error(), web.URL) {
		t.Fatalf("Start without the keys of the other: %v", err)
	}
	alone := start(t, withIssuers(waiting))
	if alone.Ready() {
		t.Error("ready without any source")
	}
	cfg := withIssuers(keysAt("a", issA, pathA), waiting)
	cfg.WaitForSource = true
	both := start(t, cfg)
	ofA, ofB := a.signFor(t, issA, ""), b.signFor(t, web.URL, "k")
	want := func(what string, ag *agent.Agent, wantA, wantB string, ready bool) {
		t.Helper()
		wantClass(t, ag, what+", A", ofA, wantA)
		wantClass(t, ag, what+", B", ofB, wantB)
		if ag.Ready() != ready || ag.Status().Ready != ready {
			t.Errorf("%s: ready %t", what, ag.Ready())
		}
	}
	want("neither", both, "unavailable", "unavailable", false)
	replace(t, pathA, a.public)
	if _, err := both.Reload(); err == nil {
		t.Error("Reload hides the error of B")
	}
	want("A", both, "ok", "unavailable", true)
	web.pages.Store(&map[string]string{wellKnown: metadata(web.URL, web.URL+"/keys"), "/keys": `{"keys":[` + b.jwk("k") + `]}`})
	for _, ag := range []*agent.Agent{alone, both} {
		if _, err := ag.Reload(); err != nil {
			t.Error(err)
		}
	}
	want("both", both, "ok", "ok", true)
	wantClass(t, alone, "alone", ofB, "ok")
	if !alone.Ready() {
		t.Error("not ready with its only source")
	}
	// Without A, B is not enough.
	cfg.Issuers[0].KeyFile = filepath.Join(t.TempDir(), "none")
	want("B", start(t, cfg), "unavailable", "ok", false)
}

// TestThousandDiscoveredIssuers: the tenants of one provider. Their keys have the same kid,
// and each verifies only the tokens of its tenant.
func TestThousandDiscoveredIssuers(t *testing.T) {
	t.Parallel()
	const n = 1000
	web := newSite(t)
	keys := []issuer{newIssuer(t), newIssuer(t), newIssuer(t)}
	pages := make(map[string]string)
	var issuers []agent.Issuer
	for i := range n {
		iss := fmt.Sprintf("%s/%d", web.URL, i)
		pages[fmt.Sprintf("/%d%s", i, wellKnown)] = metadata(iss, iss+"/keys")
		pages[fmt.Sprintf("/%d/keys", i)] = `{"keys":[` + keys[i%len(keys)].jwk("k") + `]}`
		issuers = append(issuers, found(fmt.Sprint("i", i), iss))
	}
	web.pages.Store(&pages)
	began := time.Now()
	ag := start(t, withIssuers(issuers...))
	t.Logf("started in %s", time.Since(began))
	for i := 0; i < n; i += 7 {
		iss := issuers[i].JWT.Issuer
		wantClass(t, ag, iss, keys[i%len(keys)].signFor(t, iss, "k"), "ok")
		wantClass(t, ag, iss+" signed by the next", keys[(i+1)%len(keys)].signFor(t, iss, "k"), "invalid")
		wantClass(t, ag, iss+" with a slash", keys[i%len(keys)].signFor(t, iss+"/", "k"), "invalid")
	}
	if !ag.Ready() {
		t.Error("not ready")
	}
}
