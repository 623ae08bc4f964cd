package cli

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// An idp is an OpenID provider on loopback.
type idp struct {
	*httptest.Server

	keys atomic.Pointer[string] // the path of the JWKS file
	down atomic.Bool
}

func newIDP(t *testing.T, s signer) *idp {
	t.Helper()
	p := new(idp)
	p.keys.Store(&s.jwks)
	p.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case p.down.Load():
			w.WriteHeader(http.StatusInternalServerError)
		case r.URL.Path == "/.well-known/openid-configuration":
			fmt.Fprintf(w, `{"issuer":%q,"jwks_uri":%q,"token_endpoint":"x"}`, p.URL, p.URL+"/keys")
		case r.URL.Path == "/keys":
			text, _ := os.ReadFile(*p.keys.Load())
			_, _ = w.Write(text)
		default:
			w.WriteHeader(http.StatusNotFound)
		}
	}))
	t.Cleanup(p.Close)
	return p
}

// TestIssuerAlone checks that the URL of an issuer is enough to find its keys, for every
// command.
func TestIssuerAlone(t *testing.T) {
	s := newSigner(t, "ES256")
	p := newIDP(t, s)
	token := s.sign(t, "--issuer", p.URL)
	flags := []string{"--issuer", p.URL, "--audience", audience}
	invoke(t, token, append([]string{"verify"}, flags...)...).want(t, 0, "accepted: token")
	invoke(t, s.sign(t), append([]string{"verify"}, flags...)...).want(t, 1, "is invalid") // of another issuer
	invoke(t, token, append([]string{"inspect"}, flags...)...).want(t, 0, "accepted: signed by key")
	invoke(t, "", "check", "--issuer", p.URL).want(t, 0, "the metadata of the issuer says that its keys are at "+p.URL+"/keys", "listed: ", "ES256", "run needs both", "good: ")
	invoke(t, "", "check", "--issuer", p.URL+"/").want(t, 1, "error: "+p.URL+"/.well-known/openid-configuration: the metadata is of another issuer; they differ only in a slash", "bad: ")
	invoke(t, "", "check", "--issuer", p.URL+"/tenant").want(t, 1, p.URL+"/tenant/.well-known/openid-configuration: neither this document nor "+p.URL+"/.well-known/oauth-authorization-server/tenant exists")
	invoke(t, "", "verify", "--issuer", p.URL).want(t, 2, "--audience is missing")
	invoke(t, "", "verify", "--issuer", "http://issuer.example", "--audience", audience).want(t, 2, "--issuer goes with --key-file, --jwks-url or --kubernetes, unless it is an https URL")
	invoke(t, "", "verify", "--issuer", "https://issuer.example/?"+secret, "--audience", audience).want(t, 2, "--issuer: the URL holds a user name, a query or a fragment")

	// A variable names the issuer, too, but adds no second source to a flag's.
	t.Setenv("TOKENAGENT_ISSUER", p.URL)
	t.Setenv("TOKENAGENT_AUDIENCE", audience)
	invoke(t, token, "verify").want(t, 0, "accepted: token")
	invoke(t, token, "verify", "--token-file", file(t, good)).want(t, 1, "refused")
}

// TestRunDiscovers checks that run follows a rotation of the keys that it discovered, keeps
// the last good keys, and shows where the keys are.
func TestRunDiscovers(t *testing.T) {
	s, next := newSigner(t, "ES256"), newSigner(t, "EdDSA")
	p := newIDP(t, s)
	r := startRun(t, "--issuer", p.URL, "--audience", audience)
	token, later := s.sign(t, "--issuer", p.URL, "--subject", "alice"), next.sign(t, "--issuer", p.URL)
	if code, subject := r.ask(t, token); code != http.StatusOK || subject != "alice" {
		t.Fatalf("%d, %q", code, subject)
	}
	p.keys.Store(&next.jwks)
	for end := time.Now().Add(20 * time.Second); ; {
		code, _ := r.ask(t, later) // it makes the agent ask for the keys
		if code == http.StatusOK {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("the new key is not found: %d\n%s", code, r.log)
		}
	}
	if code, _ := r.ask(t, token); code != http.StatusUnauthorized {
		t.Errorf("the old key is accepted: %d", code)
	}
	p.down.Store(true)
	if code, _ := r.ask(t, later); code != http.StatusOK {
		t.Errorf("while the issuer is down: %d", code)
	}
	var status struct {
		Sources []struct{ Name, Kind, Location string }
	}
	if err := json.Unmarshal([]byte(r.page(t, "/status")), &status); err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(status.Sources); got != "[{keys discovery "+p.URL+"/keys}]" {
		t.Errorf("status: %s", got)
	}
	if page := r.page(t, "/"); !strings.Contains(page, "requesting it again when its answer expires") || !strings.Contains(page, p.URL+"/keys") {
		t.Errorf("the page does not show the address of the keys:\n%s", page)
	}
}

// TestRealmWithIssuers checks that a realm accepts the tokens of each of its issuers, and
// that check explains the keys of each. An issuer with wait-for-source may be down.
func TestRealmWithIssuers(t *testing.T) {
	a, b, c := newSigner(t, "ES256"), newSigner(t, "EdDSA"), newSigner(t, "ES256")
	p, away := newIDP(t, b), newIDP(t, c)
	away.down.Store(true)
	jwks, err := os.ReadFile(a.jwks)
	if err != nil {
		t.Fatal(err)
	}
	text := fmt.Sprintf(`defaults: {audience: %s}
realms:
  orders:
    token-file: token
    issuers:
      - {name: corp, key-file: corp.json, issuer: %q}
      - {name: cloud, issuer: %q}
      - {name: away, issuer: %q, wait-for-source: %%t}
default-realm: orders
`, audience, issuer, p.URL, away.URL)
	path := realmsFile(t, fmt.Sprintf(text, true), "token", good, "corp.json", string(jwks))
	strict := realmsFile(t, fmt.Sprintf(text, false), "token", good, "corp.json", string(jwks))
	invoke(t, "", "check", "--config", path).want(t, 1, "keys of the issuer orders.corp:", "keys of the issuer orders.cloud:\n  the metadata of the issuer says that its keys are at "+p.URL+"/keys", "error: "+away.URL+"/.well-known/openid-configuration: the server answers 500", "bad: ")
	invoke(t, "", "run", "--config", strict, "--listen", "127.0.0.1:0", "--admin-listen", "").want(t, 1, "realm orders: ", "the server answers 500")

	r := startRun(t, "--config", path)
	for what, q := range map[string]struct {
		token string
		want  int
	}{
		"a shared token":   {good, 200},
		"corp":             {a.sign(t), 200},
		"cloud":            {b.sign(t, "--issuer", p.URL), 200},
		"away":             {c.sign(t, "--issuer", away.URL), 503},
		"corp, by cloud":   {b.sign(t), 401},
		"cloud, by corp":   {a.sign(t, "--issuer", p.URL), 401},
		"an unknown one":   {a.sign(t, "--issuer", "https://nobody.example"), 401},
		"with a slash":     {b.sign(t, "--issuer", p.URL+"/"), 401},
		"cloud, by nobody": {c.sign(t, "--issuer", p.URL), 401},
	} {
		if code, _ := r.ask(t, q.token); code != q.want {
			t.Errorf("%s: %d, want %d", what, code, q.want)
		}
	}
	metrics := r.page(t, "/metrics")
	if !strings.Contains(metrics, `tokenagent_realms{ready="true"} 1`) {
		t.Error("the realm is not ready without an issuer that may be missing")
	}
	for _, source := range []string{"orders", "orders.corp", "orders.cloud", "orders.away"} {
		if !strings.Contains(metrics, fmt.Sprintf(`tokenagent_last_reload_successful{realm="orders",source=%q}`, source)) {
			t.Errorf("no metrics of %s", source)
		}
	}
	away.down.Store(false)
	for end := time.Now().Add(20 * time.Second); ; {
		code, _ := r.ask(t, c.sign(t, "--issuer", away.URL))
		if code == http.StatusOK {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("the issuer did not recover: %d", code)
		}
	}
}

// TestP4_IssuersChangeWithTheFile checks that the file adds, renames and removes issuers of a
// realm, and that the superseded keys of an issuer stay accepted, also when a realm of one
// issuer gets several.
func TestP4_IssuersChangeWithTheFile(t *testing.T) {
	old, next, b, c := newSigner(t, "ES256"), newSigner(t, "ES256"), newSigner(t, "EdDSA"), newSigner(t, "ES256")
	pem := func(s signer) string {
		text, err := os.ReadFile(s.pem)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	const head = "defaults: {audience: " + audience + "}\ndefault-realm: orders\nrealms:\n  orders:\n"
	entry := func(name, iss, file string) string {
		return fmt.Sprintf("      - {name: %s, issuer: %q, key-file: %s}\n", name, iss, file)
	}
	const issB, issC = "https://b.example", "https://c.example"
	path := realmsFile(t, head+"    key-file: a.pem\n    issuer: "+issuer+"\n", "a.pem", pem(old), "b.pem", pem(b), "c.pem", pem(c))
	r := startRun(t, "--config", path, "--poll-interval", "50ms", "--debounce", "0s")
	ofOld, ofNext := old.sign(t), next.sign(t)
	ofB, ofC := b.sign(t, "--issuer", issB), c.sign(t, "--issuer", issC)
	becomes := func(what, token string, want int) {
		t.Helper()
		for end := time.Now().Add(20 * time.Second); ; {
			code, _ := r.ask(t, token)
			if other, _ := r.ask(t, ofOld); other != http.StatusOK {
				t.Fatalf("%s: the superseded key is refused: %d", what, other)
			}
			if code == want {
				return
			}
			if time.Now().After(end) {
				t.Fatalf("%s: %d, want %d\n%s", what, code, want, r.log)
			}
		}
	}
	becomes("at first", ofB, 401)
	overwrite(t, strings.TrimSuffix(path, "realms.yaml")+"a.pem", pem(next))
	becomes("rotated", ofNext, 200)
	overwrite(t, path, head+"    issuers:\n"+entry("corp", issuer, "a.pem")+entry("ci", issB, "b.pem"))
	becomes("a second issuer", ofB, 200)
	overwrite(t, path, head+"    issuers:\n"+entry("ci", issuer, "a.pem")+entry("ci", issC, "c.pem"))
	r.becomes(t, "two issuers with one name", "/status", "realms.orders.issuers.2: the name is the same as that on line 6")
	becomes("a bad file changes nothing", ofB, 200)
	overwrite(t, path, head+"    issuers:\n"+entry("partner", issC, "c.pem")+entry("main", issuer, "a.pem"))
	becomes("another issuer in its place", ofC, 200)
	becomes("the one that is gone", ofB, 401)
	becomes("renamed", ofNext, 200)
}
