package config

import (
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/realm"
)

func parse(text string) (*realm.Plan, error) {
	return ParseFile("/dir/f", []byte(text), slog.New(slog.DiscardHandler))
}

// text describes a Plan.
func text(p *realm.Plan) string {
	var b strings.Builder
	fmt.Fprintf(&b, "default=%s paths=%t", p.Default, p.Paths)
	for _, s := range p.Specs {
		c := s.Config
		fmt.Fprintf(&b, "\n%s %s hosts=%v headers=%v overlap=%s wait=%t", s.Name, c.TokenFile, s.Hosts, s.Headers, c.Overlap, c.WaitForSource)
	}
	return b.String()
}

func TestParseFile(t *testing.T) {
	t.Parallel()
	const file = `# two realms
defaults:
  overlap: 10m
  header: [X-Token]
default-realm: orders
paths: false
realms:
  orders:
    token-file: /run/orders   # a comment
    hosts: Orders.example
  payments:
    token-file: "pay: ments"
    overlap: 0s
    header:
      - A
      - 'B'
    wait-for-source: true
`
	want := `default=orders paths=false
orders /run/orders hosts=[orders.example] headers=[X-Token] overlap=10m0s wait=false
payments /dir/pay: ments hosts=[] headers=[A B] overlap=-1ns wait=true`
	for _, data := range []string{file, strings.ReplaceAll(file, "\n", "\r\n"), "\ufeff" + file, "---\n" + file[len("# two realms\n"):]} {
		p, err := parse(data)
		if err != nil {
			t.Fatal(err)
		}
		if got := text(p); got != want {
			t.Errorf("got:\n%s\nwant:\n%s", got, want)
		}
	}
	p, err := parse("realms: {a: {token-file: /x}}")
	if err != nil || text(p) != "default= paths=true\na /x hosts=[] headers=[] overlap=15m0s wait=false" {
		t.Errorf("in one line: %v, %v", p, err)
	}
}

// TestErrorsNameTheLineOfTheirSetting, which may be in the defaults. An error about a
// missing setting names the line of the realm.
func TestErrorsNameTheLineOfTheirSetting(t *testing.T) {
	t.Parallel()
	const file = `defaults:
  max-overlap: 1m
realms:
  a:
    issuer: i
    token-file: x
  b:
    token-file: x
    env-file: x
    overlap: 1s
    debounce: -1s
    state-file: s
  c: {}
  d:
    key-file: x
    issuer: i
    overlap: 1s
`
	_, err := parse(file)
	const want = `/dir/f:5: realms.a: issuer goes with key-file, jwks-url or kubernetes, unless it is an https URL at which the issuer says where its keys are
/dir/f:2: realms.a: max-overlap (1m0s) is shorter than overlap (15m0s); make it at least as long
/dir/f:11: realms.b: debounce must not be negative; 0s means none
/dir/f:8: realms.b: token-file and env-file are both set; one source is meant: leave one empty
/dir/f:13: realms.c: it has no source; give it token-file, env-file, token-env, key-file, jwks-url, kubernetes, or an issuer that is an https URL
/dir/f:14: realms.d: audience is missing: `
	if err == nil || !strings.HasPrefix(err.Error(), want) {
		t.Errorf("%v\nwant\n%s", err, want)
	}
	_, err = parse("realms:\n  a:\n    token-file: x\n    hosts: h\n    state-file: s\n  b:\n    token-file: y\n    state-file: ./s\n    hosts: [i, H]")
	if err == nil || err.Error() != "/dir/f:9: realms.b.hosts: realm a has the same; each realm needs its own\n/dir/f:8: realms.b.state-file: realm a has the same; each realm needs its own" {
		t.Errorf("two realms with the same host and state file: %v", err)
	}
}

const canary = "CANARY-70c1-token"

// TestFileErrors checks that each error names its line and its fix, and quotes no value.
func TestFileErrors(t *testing.T) {
	t.Parallel()
	for data, want := range map[string]string{
		"":                "/dir/f:1: it is empty; it needs realms",
		"# nothing\n":     "/dir/f:1: it is empty",
		"--- \n":          "/dir/f:1: it is empty",
		"realms:":         "/dir/f:1: realms: it must be a mapping",
		"realms: {}":      "/dir/f:1: realms is empty",
		"overlap: 1m":     "/dir/f:1: the file: unknown key; the keys are default-realm, defaults, paths, realms\n/dir/f:1: realms is missing",
		"realm:\n  a: {}": "/dir/f:1: the file: unknown key realm; did you mean realms?",
		"- a":             "/dir/f:1: the file: it must be a mapping",
		"realms:\n  a:\n    token_file: " + canary:             "/dir/f:3: realms.a: unknown key token_file; did you mean token-file?",
		"realms:\n  a:\n    tokenFile: x":                      "/dir/f:3: realms.a: unknown key tokenFile; did you mean token-file?",
		"realms:\n  a:\n    overlp: 1m":                        "/dir/f:3: realms.a: unknown key overlp; did you mean overlap?",
		"realms:\n  a:\n    host: x":                           "/dir/f:3: realms.a: unknown key host; did you mean hosts?",
		"realms:\n  a:\n    " + canary + ": 1":                 "/dir/f:3: realms.a: unknown key; the keys are algorithm, allow-client, allow-missing-issuer, audience, debounce, env-file, header, hosts, issuer, issuers, ",
		"realms:\n  a:\n    overlap: 1m\n    overlap: 2m":      "/dir/f:4: realms.a: a key is repeated; the first is on line 3",
		"realms:\n  a: {}\n  b: {}\n  a: {}":                   "/dir/f:4: realms: a key is repeated; the first is on line 2",
		"realms:\n  a:\n    overlap: [1m]":                     "/dir/f:3: realms.a.overlap: it takes one value",
		"realms:\n  a:\n    header: []":                        "/dir/f:3: realms.a.header: the list is empty",
		"realms:\n  a:\n    header: [{b: c}]":                  "/dir/f:3: realms.a.header: it must be a plain value",
		"realms:\n  a:\n    overlap:":                          "/dir/f:3: realms.a.overlap: it has no value",
		"realms:\n  a:\n    overlap: 2026-01-01":               "/dir/f:3: realms.a.overlap: it must be text, a number, true or false",
		"realms:\n  a: " + canary:                              "/dir/f:2: realms.a: it must be a mapping",
		"realms:\n  -a: {}":                                    "/dir/f:2: realms: a name must be",
		"realms:\n  " + canary + "/x: {}":                      "/dir/f:2: realms: a name must be",
		"realms:\n  a: &x {}\n  b: *x":                         "/dir/f:3: realms.b: it must be a mapping of lines 'key: value'; aliases are not read",
		"realms:\n  a: &x {}\n  b:\n    overlap: *x":           "/dir/f:4: realms.b.overlap: it must be a plain value; aliases are not read",
		"default-realm: b\nrealms:\n  a: {}":                   "/dir/f:1: default-realm: there is no realm of that name\x00",
		"realms:\n  a:\n    <<: {overlap: 1m}":                 "/dir/f:3: realms.a: unknown key; the keys are",
		"realms:\n  ? [a]\n  : {}":                             "/dir/f:2: realms: a key must be a plain word",
		"realms:\n  a: {}\n---\nrealms: {}":                    "/dir/f:3: a second document begins",
		"realms:\n\ta: {}":                                     "/dir/f:2: it is not YAML:",
		"realms:\n  a: {}\n  b: *" + canary:                    "it is not YAML: an alias to no anchor",
		"realms:\n  a: \"" + canary:                            "it is not YAML:",
		"defaults:\n  token-file: x\nrealms:\n  a: {}":         "/dir/f:2: defaults: token-file differs for each realm",
		"default-realm: ordres\nrealms:\n  orders: {}":         "/dir/f:1: default-realm: there is no realm of that name; did you mean orders?",
		"default-realm: " + canary + "\nrealms:\n  orders: {}": "/dir/f:1: default-realm: there is no realm of that name",
		"paths: maybe\nrealms:\n  a: {}":                       "/dir/f:1: paths: it must be true or false",
	} {
		p, err := parse(data)
		if err == nil {
			t.Errorf("%q: accepted as %s", data, text(p))
			continue
		}
		if !strings.Contains(err.Error()+"\x00", want) {
			t.Errorf("%q:\n  %v\nwant\n  %s", data, err, want)
		}
		if strings.Contains(err.Error(), "CANARY") {
			t.Errorf("%q: quoted: %v", data, err)
		}
	}
}

// TestErrorsAreReportedTogether checks that one attempt reports up to ten errors.
func TestErrorsAreReportedTogether(t *testing.T) {
	t.Parallel()
	_, err := parse("realms:\n  a:\n    overlp: 1\n    hedaer: 2\n")
	if err == nil || strings.Count(err.Error(), "\n") != 1 {
		t.Errorf("two errors: %v", err)
	}
	var b strings.Builder
	for i := range 15 {
		fmt.Fprintf(&b, "  r%d: 1\n", i)
	}
	_, err = parse("realms:\n" + b.String())
	if err == nil || strings.Count(err.Error(), "\n") != 10 || !strings.HasSuffix(err.Error(), "and 5 more") {
		t.Errorf("fifteen errors: %v", err)
	}
}

// FuzzParseFile checks that no file causes a panic or is quoted, and that every realm of
// an accepted file has a valid name and a source.
func FuzzParseFile(f *testing.F) {
	for _, s := range []string{"realms: {a: {token-file: x}}", "realms:\n  a:\n    header: [x, y]\n    token-env: X\ndefaults: {overlap: 1m}", "a: &a [*a]", "? x\n: y", "realms: !!binary x", issuersFile, "realms: {a: {issuers: [{name: b, issuer: c, key-file: d, audience: [e, f]}, {name: g}]}}"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, data string) {
		p, err := parse(data)
		if err != nil {
			if strings.Contains(err.Error(), "CANARY") {
				t.Fatal("quoted")
			}
			return
		}
		if len(p.Specs) == 0 {
			t.Fatal("no realms")
		}
		for _, s := range p.Specs {
			c := s.Config
			sources := map[string]bool{c.Name: true}
			for _, iss := range c.Issuers {
				if sources[iss.Name] || iss.Name != s.Name && !strings.HasPrefix(iss.Name, s.Name+".") {
					t.Fatalf("realm %q: issuer %+v", s.Name, iss)
				}
				sources[iss.Name] = true
			}
			if !realmName.MatchString(s.Name) || c.TokenFile+c.TokenEnv+c.EnvFile == "" && len(c.Issuers) == 0 {
				t.Fatalf("realm %q: %+v", s.Name, c)
			}
		}
	})
}
