package agent_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	gojwt "github.com/golang-jwt/jwt/v5"

	"github.com/tokenagent/tokenagent/agent"
	"github.com/tokenagent/tokenagent/internal/kubemount"
	"github.com/tokenagent/tokenagent/pkg/verify"
)

// signFor returns a token of the issuer iss; "" leaves the claim out.
func (i issuer) signFor(t *testing.T, iss, kid string) string {
	t.Helper()
	claims := gojwt.MapClaims{"aud": "orders", "sub": canary + "alice", "exp": time.Now().Add(time.Hour).Unix()}
	if iss != "" {
		claims["iss"] = iss
	}
	token := gojwt.NewWithClaims(gojwt.SigningMethodEdDSA, claims)
	if kid != "" {
		token.Header["kid"] = kid
	}
	text, err := token.SignedString(i.private)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

const (
	issA = "https://a.example"
	issB = "https://b.example"
)

// keysAt returns an Issuer whose keys are at path.
func keysAt(name, iss, path string) agent.Issuer {
	return agent.Issuer{Name: name, KeyFile: path, JWT: agent.JWT{Issuer: iss, Audiences: []string{"orders"}}}
}

// withIssuers returns a Config that accepts the tokens of issuers.
func withIssuers(issuers ...agent.Issuer) agent.Config {
	return agent.Config{PollOnly: true, Poll: time.Hour, Overlap: 10 * time.Minute, Issuers: issuers}
}

func wantClass(t *testing.T, a *agent.Agent, what, token, want string) {
	t.Helper()
	if got := class(a, token); got != want {
		t.Errorf("%s: %s, want %s", what, got, want)
	}
}

// TestP5_KeysOfOneIssuerDoNotVouchForAnother: two issuers use the same kid. The metrics
// and the Principal name the issuer of a token.
func TestP5_KeysOfOneIssuerDoNotVouchForAnother(t *testing.T) {
	t.Parallel()
	a, b := newIssuer(t), newIssuer(t)
	third := keysAt("third", "https://c.example", file(t, newIssuer(t).public))
	third.JWT.AllowMissingIssuer = true
	ag := start(t, withIssuers(
		keysAt("a", issA, file(t, `{"keys":[`+a.jwk("k1")+`]}`)), keysAt("b", issB, file(t, `{"keys":[`+b.jwk("k1")+`]}`)), third))
	for what, c := range map[string]struct{ token, want string }{
		"A":                           {a.signFor(t, issA, "k1"), "ok"},
		"B":                           {b.signFor(t, issB, "k1"), "ok"},
		"B without kid":               {b.signFor(t, issB, ""), "ok"},
		"A signed by B":               {b.signFor(t, issA, "k1"), "invalid"},
		"B signed by A":               {a.signFor(t, issB, "k1"), "invalid"},
		"with a slash":                {a.signFor(t, issA+"/", "k1"), "invalid"},
		"no issuer":                   {a.signFor(t, "", "k1"), "invalid"},
		"nobody knows it":             {a.signFor(t, "https://d.example", "k1"), "invalid"},
		"the third, signed by A":      {a.signFor(t, "https://c.example", ""), "invalid"},
		"no token":                    {"", "missing"},
		"not a JSON Web Token":        {"some-shared-token", "invalid"},
		"a JSON Web Token, cut short": {strings.TrimSuffix(a.signFor(t, issA, "k1"), "A")[:80], "invalid"},
	} {
		wantClass(t, ag, what, c.token, c.want)
	}
	if p, err := ag.Verify(t.Context(), b.signFor(t, issB, "k1")); err != nil || p.Source() != "b" {
		t.Errorf("%v, %v", p.Source(), err)
	}
	text := scrape(t, ag)
	for _, want := range []string{
		`tokenagent_verifications_total{method="jwt",result="ok",slot="listed",source="a"} 1`,
		`tokenagent_verifications_total{method="jwt",result="ok",slot="listed",source="b"} 3`,
		`tokenagent_verifications_total{method="jwt",result="ok",slot="current",source="third"} 0`,
		`tokenagent_verifications_total{method="jwt",result="invalid",slot="",source=""} 8`,
		`tokenagent_verifications_total{method="jwt",result="missing",slot="",source=""} 1`,
		`tokenagent_signature_checks_refused_total{source="b"} 0`,
		`tokenagent_accepted_tokens{slot="listed",source="b"} 1`,
	} {
		if !strings.Contains(text, want+"\n") {
			t.Errorf("%s is not in\n%s", want, text)
		}
	}
	var names []string
	for _, s := range ag.Status().Sources {
		names = append(names, s.Name)
	}
	if !slices.Equal(names, []string{"a", "b", "third"}) {
		t.Errorf("Status has the sources %q", names)
	}
}

// TestTokensAndIssuers: shared tokens and the tokens of several issuers are verified by
// one Agent.
func TestTokensAndIssuers(t *testing.T) {
	t.Parallel()
	a, b := newIssuer(t), newIssuer(t)
	cfg := withIssuers(keysAt("a", issA, file(t, a.public)), keysAt("b", issB, file(t, b.public)))
	cfg.TokenFile = file(t, tokenN(0))
	ag := start(t, cfg)
	for token, want := range map[string]string{tokenN(0): "ok", a.signFor(t, issA, ""): "ok", b.signFor(t, issB, ""): "ok", b.signFor(t, issA, ""): "invalid", tokenN(1): "invalid"} {
		wantClass(t, ag, token[:8], token, want)
	}
	if got := metric(t, ag, `verifications_total{method="jwt",result="ok",slot="current",source="b"}`); got != "1" {
		t.Errorf("source b: %s", got)
	}
}

// TestP4_OneIssuerIsDown: while the server of one issuer is down, the tokens of the other
// are accepted. Each rotates and recovers independently of the other.
func TestP4_OneIssuerIsDown(t *testing.T) {
	t.Parallel()
	a, b, next := newIssuer(t), newIssuer(t), newIssuer(t)
	var up atomic.Bool
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if !up.Load() {
			w.WriteHeader(http.StatusInternalServerError)
			return
		}
		_, _ = io.WriteString(w, `{"keys":[`+b.jwk("k1")+`]}`)
	}))
	defer srv.Close()
	path := file(t, a.public)
	server := agent.Issuer{Name: "b", JWKSURL: srv.URL, JWT: agent.JWT{Issuer: issB, Audiences: []string{"orders"}}}
	cfg := withIssuers(keysAt("a", issA, path), server)
	if _, err := agent.Start(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), srv.URL) {
		t.Fatalf("Start with a server that is down: %v", err)
	}
	cfg.WaitForSource = true
	ag := start(t, cfg)
	ofA, ofB := a.signFor(t, issA, ""), b.signFor(t, issB, "k1")
	want := func(what, wantA, wantB string, ready bool) {
		t.Helper()
		wantClass(t, ag, what+", A", ofA, wantA)
		wantClass(t, ag, what+", B", ofB, wantB)
		if ag.Ready() != ready {
			t.Errorf("%s: ready %t", what, ag.Ready())
		}
	}
	want("B is down", "ok", "unavailable", false)
	if s := ag.Status().Sources; !s[0].Ready || s[0].Error != "" || s[1].Ready || !strings.Contains(s[1].Error, "500") {
		t.Errorf("%+v", s)
	}
	if metric(t, ag, `last_reload_successful{source="a"}`) != "1" || metric(t, ag, `last_reload_successful{source="b"}`) != "0" {
		t.Error("the metrics do not tell the two apart")
	}
	replace(t, path, next.public)
	if changed, err := ag.Reload(); !changed || err == nil {
		t.Errorf("Reload: %t, %v", changed, err)
	}
	want("A has rotated", "ok", "unavailable", false)
	wantClass(t, ag, "the new key of A", next.signFor(t, issA, ""), "ok")
	up.Store(true)
	if _, err := ag.Reload(); err != nil {
		t.Errorf("Reload: %v", err)
	}
	want("B is up", "ok", "ok", true)
	up.Store(false)
	if _, err := ag.Reload(); err == nil {
		t.Error("no error")
	}
	want("B is down again", "ok", "ok", true)
	replace(t, path, "-----BEGIN nonsense")
	if _, err := ag.Reload(); err == nil || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), srv.URL) {
		t.Errorf("Reload names not both sources: %v", err)
	}
	want("both are bad", "ok", "ok", true)
}

// TestP3_KeyOfOneIssuerRevoked: a kid that one issuer revokes is accepted at another.
func TestP3_KeyOfOneIssuerRevoked(t *testing.T) {
	t.Parallel()
	a, b := newIssuer(t), newIssuer(t)
	dir := t.TempDir()
	write := func(revoked string) {
		if err := kubemount.Write(dir, map[string][]byte{"jwks.json": []byte(`{"keys":[` + a.jwk("k1") + `]}`), "revoked": []byte(revoked)}, 0o400); err != nil {
			t.Fatal(err)
		}
	}
	write("")
	cfg := withIssuers(keysAt("a", issA, dir), keysAt("b", issB, file(t, `{"keys":[`+b.jwk("k1")+`]}`)))
	cfg.StateFile = stateFile(t)
	ag := start(t, cfg)
	ofA, ofB := a.signFor(t, issA, "k1"), b.signFor(t, issB, "k1")
	p, err := ag.Verify(t.Context(), ofA)
	if err != nil || class(ag, ofB) != "ok" {
		t.Fatal("a good token is refused")
	}
	write("kid k1\n")
	if _, err := ag.Reload(); err != nil {
		t.Fatal(err)
	}
	if !ag.AwaitRevocation(t.Context(), p) {
		t.Error("AwaitRevocation does not report the revocation")
	}
	write("") // the revocation stays
	for range 2 {
		wantClass(t, ag, "A", ofA, "revoked")
		wantClass(t, ag, "B", ofB, "ok")
		if s := ag.Status().Sources; s[0].Revoked == 0 || s[1].Revoked != 0 {
			t.Errorf("%d and %d revoked", s[0].Revoked, s[1].Revoked)
		}
		_ = ag.Close()
		ag = start(t, cfg)
	}
	if err := ag.Revoke(verify.RevokedKeyID("k1")); err != nil {
		t.Fatal(err)
	}
	wantClass(t, ag, "B, by hand", ofB, "revoked")
}

// TestIssuerConfigErrors lists everything that is wrong with several issuers.
func TestIssuerConfigErrors(t *testing.T) {
	t.Parallel()
	path := file(t, newIssuer(t).public)
	for want, change := range map[string]func(c *agent.Config){
		"issuer 2: Issuer.Name must be":                                       func(c *agent.Config) { c.Issuers[1].Name = "" },
		"issuer 2: Issuer.Name is the same as that of issuer 1":               func(c *agent.Config) { c.Issuers[1].Name = "a" },
		"issuer 2: Config.Name and Issuer.Name are the same":                  func(c *agent.Config) { c.Issuers[1].Name = "token" },
		"issuer 2: Issuer.JWT.Issuer is the same as that of issuer 1":         func(c *agent.Config) { c.Issuers[1].JWT.Issuer = issA },
		"issuer 2: Issuer.JWT.Issuer is missing":                              func(c *agent.Config) { c.Issuers[1].JWT.Issuer = "" },
		"issuer 1: Issuer.JWT.Audiences is missing":                           func(c *agent.Config) { c.Issuers[0].JWT.Audiences = nil },
		"issuer 2: no keys; set Issuer.KeyFile or Issuer.JWKSURL":             func(c *agent.Config) { c.Issuers[1].KeyFile, c.Issuers[1].JWT.Issuer = "", "b" },
		"issuer 2: Issuer.JWT.Issuer: the URL is not https":                   func(c *agent.Config) { c.Issuers[1].KeyFile, c.Issuers[1].JWT.Issuer = "", "http://b.example" },
		"issuer 2: Issuer.KeyFile and Issuer.JWKSURL are both set":            func(c *agent.Config) { c.Issuers[1].JWKSURL = "https://b.example/keys" },
		"issuer 1: Issuer.JWT.Leeway must be at most 10m0s; issuer 2: Issuer": func(c *agent.Config) { c.Issuers[0].JWT.Leeway, c.Issuers[1].JWT.Leeway = time.Hour, time.Hour },
		"issuer 2: Issuer.JWT.AllowMissingIssuer is also set for issuer 1": func(c *agent.Config) {
			c.Issuers[0].JWT.AllowMissingIssuer, c.Issuers[1].JWT.AllowMissingIssuer = true, true
		},
		"is the source": func(c *agent.Config) { c.StateFile = path },
	} {
		cfg := withIssuers(keysAt("a", issA, file(t, newIssuer(t).public)), keysAt("b", issB, path))
		if err := cfg.Validate(); err != nil {
			t.Fatal(err)
		}
		change(&cfg)
		if err := cfg.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

// TestP8_StateFileOfIssuers: the state file has an entry for each source. The entry of a
// version that knew only one issuer, which it named "keys", is read, and that of an issuer
// that is no longer configured is dropped.
func TestP8_StateFileOfIssuers(t *testing.T) {
	t.Parallel()
	a, b, next := newIssuer(t), newIssuer(t), newIssuer(t)
	pathA, pathB, state := file(t, a.public), file(t, b.public), stateFile(t)
	stored := func() (names []string) {
		text, err := os.ReadFile(state)
		if err != nil {
			t.Fatal(err)
		}
		var payload struct {
			Sources []struct {
				Name, Kind, Location string
			}
		}
		if err := json.NewDecoder(strings.NewReader(string(text[strings.IndexByte(string(text), '{'):]))).Decode(&payload); err != nil {
			t.Fatalf("%v\n%s", err, text)
		}
		for _, s := range payload.Sources {
			names = append(names, s.Name)
		}
		return names
	}
	restart := func(ag *agent.Agent, issuers ...agent.Issuer) *agent.Agent {
		if ag != nil {
			if err := ag.Close(); err != nil {
				t.Fatal(err)
			}
		}
		cfg := withIssuers(issuers...)
		cfg.StateFile, cfg.MaxOverlap = state, -1
		ag = start(t, cfg)
		for _, s := range ag.Status().Sources {
			if s.StateError != "" {
				t.Error(s.StateError)
			}
		}
		return ag
	}
	ofA, ofB := a.signFor(t, issA, ""), b.signFor(t, issB, "")
	ag := restart(nil, keysAt("", issA, pathA))
	if got := stored(); !slices.Equal(got, []string{"keys"}) {
		t.Fatalf("stored %q", got)
	}
	replace(t, pathA, next.public)
	ag = restart(ag, keysAt("keys", issA, pathA), keysAt("b", issB, pathB))
	wantClass(t, ag, "the old key of A, after a restart with two issuers", ofA, "ok")
	replace(t, pathB, next.public)
	ag = restart(ag, keysAt("b", issB, pathB), keysAt("keys", issA, pathA))
	wantClass(t, ag, "A", ofA, "ok")
	wantClass(t, ag, "B", ofB, "ok")
	wantClass(t, ag, "A signed by the old key of B", b.signFor(t, issA, ""), "invalid")
	if got := stored(); !slices.Equal(got, []string{"b", "keys"}) {
		t.Errorf("stored %q", got)
	}
	ag = restart(ag, keysAt("b", issB, pathB))
	wantClass(t, ag, "B alone", ofB, "ok")
	if err := ag.Revoke(verify.SigningInputDigest(ofB)); err != nil {
		t.Fatal(err)
	}
	if got := stored(); !slices.Equal(got, []string{"b"}) {
		t.Errorf("stored %q", got)
	}
	_ = ag.Close()
	cfg := withIssuers(keysAt("other", issB, pathB))
	cfg.StateFile = state
	if got := start(t, cfg).Status().Sources[0].StateError; !strings.Contains(got, `it belongs to source "b"`) {
		t.Errorf("the file of another agent: %q", got)
	}
}

// TestStartFromIssuers: a new Agent takes the superseded keys of each issuer from the
// Snapshot, by the iss and not by the order or the name. From a source whose iss has
// changed it takes only revocations.
func TestStartFromIssuers(t *testing.T) {
	t.Parallel()
	a, b, next := newIssuer(t), newIssuer(t), newIssuer(t)
	pathA, pathB := file(t, a.public), file(t, b.public)
	old := start(t, withIssuers(keysAt("a", issA, pathA), keysAt("b", issB, pathB)))
	ofA, ofB := a.signFor(t, issA, ""), b.signFor(t, issB, "")
	p, err := old.Verify(t.Context(), ofA)
	if err != nil {
		t.Fatal(err)
	}
	revoked := a.signFor(t, issA, "other")
	if err := old.Revoke(verify.SigningInputDigest(revoked)); err != nil {
		t.Fatal(err)
	}
	replace(t, pathA, next.public)
	replace(t, pathB, next.public)
	ag := startFrom(t, old, withIssuers(keysAt("b", issB, pathB), keysAt("renamed", issA, pathA)))
	if err := ag.Merge(old.Snapshot()); err != nil {
		t.Fatal(err)
	}
	wantClass(t, ag, "A", ofA, "ok")
	wantClass(t, ag, "B", ofB, "ok")
	wantClass(t, ag, "A signed by the old key of B", b.signFor(t, issA, ""), "invalid")
	wantClass(t, ag, "B signed by the old key of A", a.signFor(t, issB, ""), "invalid")
	wantClass(t, ag, "a revoked token", revoked, "revoked")
	if err := ag.Revoke(p.Credential()); err != nil || !ag.AwaitRevocation(t.Context(), p) {
		t.Errorf("a Principal of the old Agent is not known: %v", err)
	}

	moved := startFrom(t, old, withIssuers(keysAt("a", "https://moved.example", pathA)))
	if err := moved.Merge(old.Snapshot()); err != nil {
		t.Fatal(err)
	}
	wantClass(t, moved, "the old key, for another iss", a.signFor(t, "https://moved.example", ""), "invalid")
	wantClass(t, moved, "the new key", next.signFor(t, "https://moved.example", ""), "ok")
	wantClass(t, moved, "the old iss", next.signFor(t, issA, ""), "invalid")
	if n := moved.Status().Sources[0].Revoked; n != 1 {
		t.Errorf("%d revocations, want that of the old Agent", n)
	}
}

// TestThousandIssuers starts an Agent with 1,000 issuers. Each has its own key, and all
// keys have the same kid.
func TestThousandIssuers(t *testing.T) {
	t.Parallel()
	const n = 1000
	keys := []issuer{newIssuer(t), newIssuer(t), newIssuer(t), newIssuer(t), newIssuer(t), newIssuer(t), newIssuer(t)}
	dir := t.TempDir()
	iss := func(i int) string { return fmt.Sprintf("https://issuer.example/%d", i) }
	var issuers []agent.Issuer
	for i := range n {
		path := filepath.Join(dir, strconv.Itoa(i))
		replace(t, path, `{"keys":[`+keys[i%len(keys)].jwk("k1")+`]}`)
		issuers = append(issuers, keysAt(fmt.Sprint("i", i), iss(i), path))
	}
	began := time.Now()
	ag := start(t, withIssuers(issuers...))
	t.Logf("started in %s", time.Since(began))
	for i := range n {
		wantClass(t, ag, iss(i), keys[i%len(keys)].signFor(t, iss(i), "k1"), "ok")
		if i%50 == 0 {
			wantClass(t, ag, iss(i)+" signed by the next", keys[(i+1)%len(keys)].signFor(t, iss(i), "k1"), "invalid")
		}
	}
	if !ag.Ready() || len(ag.Status().Sources) != n {
		t.Error("not every source is ready")
	}
	if err := ag.Close(); err != nil {
		t.Error(err)
	}
	if err := verdict(ag, keys[0].signFor(t, iss(0), "k1")); !errors.Is(err, verify.ErrUnavailable) {
		t.Errorf("after Close: %v", err)
	}
}

// P3: the revocations of an issuer outlive a change of its name, and P5: keys that the state
// file has of one issuer verify no tokens of another.
func TestP3_StateFileOfRenamedIssuers(t *testing.T) {
	t.Parallel()
	a, b := newIssuer(t), newIssuer(t)
	pathA, pathB, state := file(t, a.public), file(t, b.public), stateFile(t)
	run := func(f func(ag *agent.Agent), issuers ...agent.Issuer) {
		cfg := withIssuers(issuers...)
		cfg.StateFile = state
		ag := start(t, cfg)
		f(ag)
		if err := ag.Close(); err != nil {
			t.Fatal(err)
		}
	}
	ofA := a.signFor(t, issA, "")
	run(func(ag *agent.Agent) {
		if err := ag.Revoke(verify.SigningInputDigest(ofA)); err != nil {
			t.Fatal(err)
		}
	}, keysAt("a", issA, pathA), keysAt("b", issB, pathB))
	for range 2 {
		run(func(ag *agent.Agent) { wantClass(t, ag, "the revoked token of a renamed issuer", ofA, "revoked") },
			keysAt("corp", issA, pathA), keysAt("b", issB, pathB))
	}
	replace(t, pathB, a.public)
	run(func(ag *agent.Agent) {
		wantClass(t, ag, "the old key at the path, for the new issuer", b.signFor(t, "https://new.example", ""), "invalid")
	}, keysAt("corp", issA, pathA), keysAt("b", "https://new.example", pathB))
}

// P3: a Snapshot carries revocations to an issuer that has another name and iss now.
func TestP3_SnapshotOfRenamedIssuers(t *testing.T) {
	t.Parallel()
	a, b := newIssuer(t), newIssuer(t)
	pathA, pathB := file(t, a.public), file(t, b.public)
	old := start(t, withIssuers(keysAt("a", issA, pathA), keysAt("b", issB, pathB)))
	const moved = "https://moved.example"
	token := a.signFor(t, moved, "")
	if err := old.Revoke(verify.SigningInputDigest(token)); err != nil {
		t.Fatal(err)
	}
	from := old.Snapshot()
	cfg := withIssuers(keysAt("a2", moved, pathA), keysAt("b", issB, pathB))
	cfg.From = &from
	ag := start(t, cfg)
	wantClass(t, ag, "revoked before the issuer moved", token, "revoked")
	if err := ag.Merge(old.Snapshot()); err != nil {
		t.Fatal(err)
	}
	wantClass(t, ag, "the same after Merge", token, "revoked")
}

// P3: if one source revokes the credential itself, Unrevoke fails and lifts the revocation at
// no source.
func TestP3_UnrevokeLiftsAtAllIssuersOrNone(t *testing.T) {
	t.Parallel()
	a, b := newIssuer(t), newIssuer(t)
	ofB := b.signFor(t, issB, "")
	id, dir := verify.SigningInputDigest(ofB), t.TempDir()
	replace(t, filepath.Join(dir, "key"), a.public)
	replace(t, filepath.Join(dir, "revoked"), fmt.Sprintf("%x", id))
	ag := start(t, withIssuers(keysAt("a", issA, dir), keysAt("b", issB, file(t, b.public))))
	wantClass(t, ag, "what only the source of A revokes", ofB, "ok")
	if err := ag.Revoke(id); err != nil {
		t.Fatal(err)
	}
	if err := ag.Unrevoke(id); err == nil {
		t.Error("no error, though the source of A revokes it")
	}
	wantClass(t, ag, "after Unrevoke failed", ofB, "revoked")
}

// TestP3_NameOfAnotherSourceBefore: issuers swap their names. Each Principal then belongs to
// the source that has its name now, and not to the one that had it before.
func TestP3_NameOfAnotherSourceBefore(t *testing.T) {
	t.Parallel()
	a, b := newIssuer(t), newIssuer(t)
	pathA, dirB := file(t, a.public), t.TempDir()
	write := func(revoked string) {
		if err := kubemount.Write(dirB, map[string][]byte{"jwks.json": []byte(`{"keys":[` + b.jwk("k1") + `]}`), "revoked": []byte(revoked)}, 0o400); err != nil {
			t.Fatal(err)
		}
	}
	write("")
	old := start(t, withIssuers(keysAt("x", issA, pathA), keysAt("y", issB, dirB)))
	ag := startFrom(t, old, withIssuers(keysAt("y", issA, pathA), keysAt("x", issB, dirB)))
	p, err := ag.Verify(t.Context(), b.signFor(t, issB, "k1"))
	if err != nil {
		t.Fatal(err)
	}
	write("kid k1\n")
	if _, err := ag.Reload(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if !ag.AwaitRevocation(ctx, p) || ctx.Err() != nil {
		t.Error("AwaitRevocation does not report the revocation")
	}
}
