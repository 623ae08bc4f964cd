package cli

import (
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/tokenagent/tokenagent/agent"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/config"
)

// realmsFile writes a file of realms and, in the same directory, files. It alternates
// names and texts. realmsFile returns the path of the file of realms.
func realmsFile(t *testing.T, text string, files ...string) string {
	t.Helper()
	dir := t.TempDir()
	files = append(files, "realms.yaml", text)
	for i := 0; i < len(files); i += 2 {
		overwrite(t, filepath.Join(dir, files[i]), files[i+1])
	}
	return filepath.Join(dir, "realms.yaml")
}

func overwrite(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path+".tmp", []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".tmp", path); err != nil {
		t.Fatal(err)
	}
}

// request asks forward auth at path, with headers as "Name: value".
func (r *running) request(t *testing.T, path string, headers ...string) (code int, h http.Header) {
	t.Helper()
	q, err := http.NewRequestWithContext(t.Context(), http.MethodGet, r.front+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range headers {
		name, value, _ := strings.Cut(text, ": ")
		if name == "Host" {
			q.Host = value
		} else {
			q.Header.Set(name, value)
		}
	}
	a, err := r.client.Do(q)
	if err != nil {
		t.Fatal(err)
	}
	_ = a.Body.Close()
	return a.StatusCode, a.Header
}

// TestRunWithRealms reaches realms of three kinds by path and by host. The file then
// becomes bad, and good again.
func TestRunWithRealms(t *testing.T) {
	s := newSigner(t, "ES256")
	jwks, err := os.ReadFile(s.jwks)
	if err != nil {
		t.Fatal(err)
	}
	const text = `
defaults:
  overlap: 10m
  issuer: https://issuer.example
  audience: orders
realms:
  orders:
    token-file: orders
    hosts: [orders.example, "*.shop.example"]
  pay:
    env-file: pay.env
    token-env: PAY_TOKEN
    header: X-Pay-Token
  signed:
    key-file: jwks.json
  both:
    token-file: pay
    key-file: jwks.json
`
	path := realmsFile(t, text, "orders", good, "pay.env", "PAY_TOKEN="+good+"-pay\n", "pay", good+"-both", "jwks.json", string(jwks))
	dir := filepath.Dir(path)
	r := startRun(t, "--config", path, "--poll-interval", "50ms", "--debounce", "0s")
	want := func(code int, subject, at string, headers ...string) {
		t.Helper()
		got, h := r.request(t, at, headers...)
		if got != code || h.Get("X-Tokenagent-Subject") != subject {
			t.Errorf("%s with %d headers: %d for %q, want %d for %q", at, len(headers), got, h.Get("X-Tokenagent-Subject"), code, subject)
		}
		if code == 401 && h.Get("WWW-Authenticate") == "" {
			t.Errorf("%s: no challenge", at)
		}
	}
	token, signed := "dapr-api-token: "+good, "Authorization: Bearer "+s.sign(t, "--subject", "alice")
	want(200, "orders", "/verify/orders", token)
	want(200, "orders", "/verify/orders/any/path?query", token)
	want(200, "orders", "/any", token, "Host: orders.example:8080")
	want(200, "orders", "/any", token, "Host: a.b.Shop.Example")
	want(200, "orders", "/verify/orders", token, "Host: orders.example")
	want(401, "", "/verify/pay", "X-Pay-Token: "+good+"-pay", "Host: orders.example")
	want(200, "pay", "/verify/pay", "X-Pay-Token: "+good+"-pay")
	want(401, "", "/verify/pay", "dapr-api-token: "+good+"-pay")
	want(401, "", "/verify/orders", "dapr-api-token: "+good+"-pay")
	want(200, "alice", "/verify/signed", signed)
	want(200, "alice", "/verify/both", signed)
	want(200, "both", "/verify/both", "dapr-api-token: "+good+"-both")
	want(401, "", "/verify/orders", signed)
	want(401, "", "/verify/nobody", token)
	want(401, "", "/", token)
	if _, h := r.request(t, "/verify/pay"); !strings.Contains(h.Get("WWW-Authenticate"), `realm="pay"`) {
		t.Errorf("the challenge names no realm: %s", h.Get("WWW-Authenticate"))
	}

	r.becomes(t, "the file is good", "/metrics", "tokenagent_config_last_reload_successful 1\n")
	overwrite(t, path, strings.Replace(text, "header:", "heder:", 1))
	r.becomes(t, "the file is bad", "/metrics", "tokenagent_config_last_reload_successful 0\n")
	r.becomes(t, "and why", "/status", path+":13: realms.pay: unknown key heder; did you mean header?")
	want(200, "pay", "/verify/pay", "X-Pay-Token: "+good+"-pay")
	invoke(t, "", "status", "--agent", r.admin).want(t, 1, "realms: 4 from "+path+", watched by events", "  error "+path+":13: ", "source both.keys: ready")
	overwrite(t, filepath.Join(dir, "orders"), good+"-new")
	r.becomes(t, "a source rotates meanwhile", "/metrics", `tokenagent_rotations_total{realm="orders",source="orders"} 1`+"\n")
	overwrite(t, path, strings.Replace(text, "overlap: 10m", "overlap: 20m", 1)+"  more:\n    token-file: orders\n    hosts: more.example\ndefault-realm: more\n")
	r.becomes(t, "the file is good again", "/readyz/more", "ok")
	want(200, "orders", "/verify/orders", token)
	want(200, "orders", "/verify/orders", token+"-new")
	want(200, "more", "/any", token+"-new")
	want(200, "orders", "/any", token, "Host: orders.example")
	if got := r.page(t, "/readyz/nobody"); !strings.Contains(got, "unknown realm") {
		t.Errorf("readyz of no realm: %q", got)
	}
	metrics := r.page(t, "/metrics")
	for _, want := range []string{`tokenagent_unknown_realm_total 3`, `tokenagent_realms{ready="true"} 5`} {
		if !strings.Contains(metrics, want) {
			t.Errorf("%s is not in the metrics", want)
		}
	}
	var st struct {
		Realms []struct{ Name string }
	}
	if err := json.Unmarshal([]byte(r.page(t, "/status")), &st); err != nil {
		t.Fatal(err)
	}
	if len(st.Realms) != 5 || st.Realms[4].Name != "more" {
		t.Errorf("status: %+v", st)
	}
}

// becomes waits until the answer of the admin port at path contains text.
func (r *running) becomes(t *testing.T, what, path, text string) {
	t.Helper()
	limit := time.After(20 * time.Second)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !strings.Contains(r.page(t, path), text) {
		select {
		case <-tick.C:
		case <-limit:
			t.Fatalf("not within 20 s: %s; log:\n%s", what, r.log)
		}
	}
}

// TestRealmErrors checks that run and check name the line and the fix.
func TestRealmErrors(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"a: {}": ":2: realms.a: it has no source; give it token-file",
		"a:\n    token-file: x\n    overlap: soon":                                       ":4: realms.a.overlap: it must be a duration such as 90s",
		"a:\n    token-file: x\n    wait-for-source: yes please":                         ":4: realms.a.wait-for-source: it must be true or false",
		"a:\n    token-file: x\n    min-token-bytes: few":                                ":4: realms.a.min-token-bytes: it must be a whole number",
		"a:\n    token-file: ''":                                                         ":3: realms.a.token-file: it is empty",
		"a:\n    key-file: x":                                                            ":2: realms.a: issuer is missing",
		"a:\n    token-file: x\n    header: 'not a header'":                              ":4: realms.a: header: ",
		"a:\n    token-file: x\n    hosts: ['a:80']":                                     ":4: realms.a.hosts: it has a port",
		"a:\n    token-file: x\n    key-name: k":                                         ":4: realms.a: unknown key",
		"a: {token-file: x, hosts: h}\n  b: {token-file: x, hosts: H}":                   ":3: realms.b.hosts: realm a has the same",
		"a: {token-file: x, state-file: s}\n  b: {token-file: y, state-file: s}":         ":3: realms.b.state-file: realm a has the same",
		"a: {token-file: x, state-file: /s/t}\n  b: {token-file: y, state-file: /s/./t}": ":3: realms.b.state-file: realm a has the same",
		"a: {token-file: x}\n  a.keys: {token-file: y}":                                  ":3: realms: a name must not end in .keys",
	} {
		path := realmsFile(t, "realms:\n  "+text+"\n")
		for _, command := range []string{"check", "run"} {
			invoke(t, "", command, "--config", path).want(t, 1, "tokenagent: "+path+want)
		}
	}
	path := realmsFile(t, "realms:\n  a: {token-file: x}\n", "x", good)
	invoke(t, "", "run", "--config", path, "--token-file", "x").want(t, 2, "--token-file does not go with --config: write it into the file as token-file")
	invoke(t, "", "run", "--config", path, "--name", "x").want(t, 2, "--name does not go with --config")
	invoke(t, "", "run", "--config", path+".none").want(t, 1, path+".none")
	invoke(t, "", "check", "--config", path+".none").want(t, 1, path+".none")
	path = realmsFile(t, "realms:\n  a: {token-file: x}\n  b: {token-file: y}\n", "x", good)
	invoke(t, "", "run", "--config", path).want(t, 1, path+": realm b: agent: ")
}

// TestCheckRealms checks the answer about good realms and about a bad one.
func TestCheckRealms(t *testing.T) {
	t.Parallel()
	path := realmsFile(t, "realms:\n  a: {token-file: x, hosts: [A.example]}\n  b: {token-file: x}\n", "x", good)
	o := invoke(t, "", "check", "--config", path)
	o.want(t, 0, "realm a (a.example):\n", "realm b:\n", "  current: ", "good: an agent would start on it, with 2 realms")
	overwrite(t, path, "realms:\n  a: {token-file: x}\n  b: {token-file: none}\n")
	invoke(t, "", "check", "--config", path).want(t, 1, "  error: ", "bad: realms that would not start, or accept nothing: b")
	o = invoke(t, "", "check", "--config", path, "--output", "json")
	var got realmsReport
	if err := json.Unmarshal([]byte(o.out), &got); err != nil || len(got.Realms) != 2 {
		t.Fatalf("%s, %v", o.out, err)
	}
	if got.OK {
		t.Error("the answer is ok with a bad realm")
	}
	if !got.Realms[0].OK || got.Realms[1].OK {
		t.Errorf("a is ok: %t, b is ok: %t", got.Realms[0].OK, got.Realms[1].OK)
	}
	o.want(t, 1)
}

// TestOnlySettingsOfTheAgentChangeIt checks that hosts, headers, the order of the keys and
// defaults that the realm does not need leave the agent's Config unchanged.
func TestOnlySettingsOfTheAgentChangeIt(t *testing.T) {
	t.Parallel()
	log := slog.New(slog.DiscardHandler)
	compile := func(defaults, text string) agent.Config {
		t.Helper()
		plan, err := config.ParseFile("f", []byte(defaults+"realms:\n  a: {"+text+"}\n"), log)
		if err != nil {
			t.Fatal(err)
		}
		return plan.Specs[0].Config
	}
	const text = "token-file: x, overlap: 5m"
	was := compile("", text)
	for _, c := range []struct {
		defaults, text string
		same           bool
	}{
		{"", "overlap: 5m, token-file: x", true},
		{"", "token-file: x, overlap: 5m, header: [A, B], hosts: [h, '*.i']", true},
		{"", "token-file: ./x, overlap: 5m, debounce: 1s", true}, // by default
		{"", "token-file: x, overlap: 6m", false},
		{"", "token-file: y, overlap: 5m", false},
		{"", "token-file: x", false},
		{"", "token-file: x, overlap: 5m, wait-for-source: true", false},
		{"defaults: {audience: b}\n", text, true},
		{"defaults: {audience: b, min-token-bytes: 20}\n", text, false},
	} {
		if reflect.DeepEqual(compile(c.defaults, c.text), was) != c.same {
			t.Errorf("%s%s: equal %t", c.defaults, c.text, !c.same)
		}
	}
}

// TestConfigFromTheEnvironment checks that in check a flag that names a source wins over
// TOKENAGENT_CONFIG. In run it is an error.
func TestConfigFromTheEnvironment(t *testing.T) {
	path := realmsFile(t, "realms:\n  a: {token-file: x}\n", "x", good)
	t.Setenv("TOKENAGENT_CONFIG", path)
	t.Setenv("TOKENAGENT_OVERLAP", "5m")
	invoke(t, "", "check").want(t, 0, "realm a:")
	o := invoke(t, "", "check", "--token-file", filepath.Join(filepath.Dir(path), "x"))
	o.want(t, 0, "current: ")
	if strings.Contains(o.out, "realm") {
		t.Error("the variable wins over the flag")
	}
	invoke(t, "", "run", "--token-file", "x").want(t, 2, "--token-file does not go with --config")
}

// TestVariablesDoNotAffectRealms checks that TOKENAGENT_HEADER has no effect with a file of
// realms, even if its value is invalid: an exempt request of no realm still arrives
// without its token.
func TestVariablesDoNotAffectRealms(t *testing.T) {
	path := realmsFile(t, "realms:\n  a: {token-file: x, hosts: a.example}\n", "x", good)
	arrived := make(chan http.Header, 1)
	app := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { arrived <- r.Header }))
	t.Cleanup(app.Close)
	for _, header := range []string{"X-Env", "not a header"} {
		t.Setenv("TOKENAGENT_HEADER", header)
		r := startRun(t, "--config", path, "--upstream", app.URL, "--allow-path", "/healthz")
		if code, _ := r.request(t, "/healthz", "dapr-api-token: "+good); code != 200 {
			t.Fatalf("status %d", code)
		}
		if h := <-arrived; h.Get("dapr-api-token") != "" {
			t.Error("the token arrived")
		}
	}
}

// TestDocumentedRealms checks that the file in docs/realms.md is valid, and that the page
// names every key.
func TestDocumentedRealms(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../../../../docs/realms.md")
	if err != nil {
		t.Fatal(err)
	}
	_, text, _ := strings.Cut(string(page), "```yaml\n")
	text, _, _ = strings.Cut(text, "```")
	plan, err := config.ParseFile("realms.yaml", []byte(text), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	if len(plan.Specs) != 3 || plan.Default != "orders" || !plan.Paths {
		t.Fatalf("%+v", plan)
	}
	for i, want := range []agent.Config{
		{Name: "orders", Overlap: 30 * time.Minute},
		{Name: "payments", Overlap: 30 * time.Minute, MaxOverlap: 24 * time.Hour},
		{Name: "accounts.none", Overlap: 30 * time.Minute},
	} {
		if got := plan.Specs[i].Config; got.Name != want.Name || got.Overlap != want.Overlap || got.MaxOverlap != want.MaxOverlap {
			t.Errorf("%s, %s, %s; want %s, %s, %s", got.Name, got.Overlap, got.MaxOverlap, want.Name, want.Overlap, want.MaxOverlap)
		}
	}
	if got := plan.Specs[2].Config.Issuers[0]; got.JWT.Issuer != "https://issuer.example" || got.JWT.Audiences[0] != "shop" || len(got.JWT.RequiredClaims["roles"]) != 2 {
		t.Errorf("%+v", got.JWT)
	}
	for block := range strings.SplitSeq(string(page), "```yaml\n") {
		if text, _, _ := strings.Cut(block, "```"); strings.Contains(text, "\nrealms:\n") && !strings.HasPrefix(text, "# ") {
			if _, err := config.ParseFile("realms.yaml", []byte(text), slog.New(slog.DiscardHandler)); err != nil {
				t.Errorf("%v\n%s", err, text)
			}
		}
	}
	for _, name := range config.RealmKeys() {
		if !strings.Contains(string(page), "`"+name+"`") {
			t.Errorf("docs/realms.md does not name %s", name)
		}
	}
}
