package config

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/tokenagent/tokenagent/agent"
)

const issuersFile = `defaults:
  audience: shop
  leeway: 10s
  max-stale: 3h
realms:
  orders:
    token-file: /run/orders
    jwt-cache: 9
    issuers:
      - name: corp
        jwks-url: https://corp.example/keys
        jwks-ca-file: ca.pem
        issuer: https://corp.example
      - name: ci
        key-file: ci.json
        issuer: https://ci.example
        audience: [orders, "7"]
        algorithm: [ES256]
        key-algorithm: ES256
        jwt-type: at+jwt
        require-claim: [a, b=1]
        leeway: 0s
      - {name: old, key-file: /old, allow-missing-issuer: true}
      - {name: found, issuer: 'https://found.example/a', wait-for-source: true}
  plain:
    key-file: /k
    issuer: i
    allow-missing-issuer: true
`

// TestIssuersOfARealm checks that each setting of an entry of issuers reaches its Issuer,
// and that the defaults apply to each entry.
func TestIssuersOfARealm(t *testing.T) {
	t.Parallel()
	plan, err := parse(issuersFile)
	if err != nil {
		t.Fatal(err)
	}
	got := plan.Specs[0].Config
	want := []agent.Issuer{
		{
			Name: "orders.corp", JWKSURL: "https://corp.example/keys", JWKS: agent.JWKS{CAFile: "/dir/ca.pem", MaxStale: 3 * time.Hour},
			JWT: agent.JWT{Issuer: "https://corp.example", Audiences: []string{"shop"}, RequiredClaims: map[string][]string{}, Leeway: 10 * time.Second},
		},
		{
			Name: "orders.ci", KeyFile: "/dir/ci.json", KeyAlgorithm: "ES256",
			JWT: agent.JWT{
				Issuer: "https://ci.example", Audiences: []string{"orders", "7"}, Algorithms: []string{"ES256"}, Types: []string{"at+jwt"},
				RequiredClaims: map[string][]string{"a": nil, "b": {"1"}}, Leeway: -1,
			},
		},
		{
			Name: "orders.old", KeyFile: "/old",
			JWT: agent.JWT{AllowMissingIssuer: true, Audiences: []string{"shop"}, RequiredClaims: map[string][]string{}, Leeway: 10 * time.Second},
		},
		{
			Name: "orders.found", JWKS: agent.JWKS{MaxStale: 3 * time.Hour}, WaitForSource: true,
			JWT: agent.JWT{Issuer: "https://found.example/a", Audiences: []string{"shop"}, RequiredClaims: map[string][]string{}, Leeway: 10 * time.Second},
		},
	}
	if !reflect.DeepEqual(got.Issuers, want) {
		t.Errorf("got\n%+v\nwant\n%+v", got.Issuers, want)
	}
	if got.Name != "orders" || got.JWTCache != 9 {
		t.Errorf("name %s, cache %d", got.Name, got.JWTCache)
	}
	plain := plan.Specs[1].Config.Issuers
	if len(plain) != 1 || plain[0].Name != "plain" || !plain[0].JWT.AllowMissingIssuer || plain[0].JWT.Leeway != 10*time.Second {
		t.Errorf("the short form: %+v", plain)
	}
}

// TestDefaultsOfIssuers: what belongs to one issuer is not allowed in the defaults. The
// defaults of requests do not replace the CA of a cluster, and those of a realm's keys apply to
// a realm with issuers.
func TestDefaultsOfIssuers(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"jwks-bearer-file", "trust-domain"} {
		_, err := parse("defaults:\n  " + name + ": x\nrealms: {a: {token-file: x}}")
		if want := "/dir/f:2: defaults: " + name + " differs for each realm; put it there"; err == nil || err.Error() != want {
			t.Errorf("%v, want %s", err, want)
		}
	}
	const defaults = "defaults: {jwt-cache: 9, jwks-ca-file: /ca, max-stale: 3h, audience: shop}\n"
	plan, err := parse(defaults + "realms: {a: {issuers: [{name: b, issuer: 'https://b'}]}}")
	if err != nil {
		t.Fatal(err)
	}
	if c := plan.Specs[0].Config; c.JWTCache != 9 || c.Issuers[0].JWKS != (agent.JWKS{CAFile: "/ca", MaxStale: 3 * time.Hour}) {
		t.Errorf("%+v", c)
	}
	_, err = parse(defaults + "realms:\n  a:\n    issuers:\n      - {name: b, kubernetes: true}")
	if err == nil || !strings.HasPrefix(err.Error(), "/dir/f:5: realms.a.issuers.1: kubernetes: this is not a pod") || strings.Contains(err.Error(), "\n") {
		t.Errorf("outside of a pod: %v", err)
	}
	plan, err = parse("defaults: {issuer: i, audience: shop}\nrealms: {a: {key-file: /k}, b: {key-file: /k, trust-domain: td.example}, c: {issuer: 'https://c'}, d: {token-file: /t}}")
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []string{"i", "", "https://c"} {
		if got := plan.Specs[i].Config.Issuers[0].JWT.Issuer; got != want {
			t.Errorf("realm %d: issuer %q, want %q", i, got, want)
		}
	}
	if c := plan.Specs[3].Config; len(c.Issuers) > 0 {
		t.Errorf("a realm of tokens: %+v", c.Issuers)
	}
	r := Defaults()
	r.Issuer.Kubernetes = true
	for _, f := range Fields {
		if f.Name == "max-stale" && !r.takesDefault(f) {
			t.Error("max-stale does not apply to a cluster")
		}
	}
}

// TestEveryIssuerSettingIsInEntries: an entry of issuers takes every setting that a realm
// takes for its only issuer.
func TestEveryIssuerSettingIsInEntries(t *testing.T) {
	t.Parallel()
	for _, f := range Fields {
		if want := f.Topic == Signed && f.Name != "jwt-cache" && f.Name != "key-name"; f.OfIssuer != (want || f.EntryOnly) {
			t.Errorf("%s: OfIssuer is %t", f.Name, f.OfIssuer)
		}
	}
}

// TestIssuerErrors checks that errors name the line, the realm and the entry, and quote no
// value.
func TestIssuerErrors(t *testing.T) {
	t.Parallel()
	const good = "realms:\n  a:\n    token-file: x\n    issuers:\n      - name: b\n        key-file: /k\n        issuer: i\n        audience: c\n"
	if _, err := parse(good); err != nil {
		t.Fatal(err)
	}
	for data, want := range map[string]string{
		good + "      - {name: b, key-file: /l, issuer: j, audience: c}":                                    "/dir/f:9: realms.a.issuers.2: the name is the same as that on line 5",
		good + "      - {name: d, key-file: /l, issuer: i, audience: c}":                                    "/dir/f:9: realms.a.issuers.2: issuer is the same as that of issuer 1",
		good + "      - {key-file: /l, issuer: " + canary + ", audience: c}":                                "/dir/f:9: realms.a.issuers.2: name is missing",
		good + "      - {name: d, key-file: /l, issuer: j}":                                                 "/dir/f:9: realms.a.issuers.2: audience is missing",
		good + "      - name: d\n        issuer: j\n        audience: c\n        max-stale: 5m":             "/dir/f:10: realms.a.issuers.2: issuer goes with key-file, jwks-url or kubernetes, unless it is",
		good + "      - {name: d, key-file: /l, issuer: j, audience: c,\n         leeway: 1h}":              "/dir/f:10: realms.a.issuers.2: leeway must be at most",
		good + "      - {name: d, key-file: /l, issuer: j, audience: c,\n         require-claim: a=}":       "/dir/f:10: realms.a.issuers.2: require-claim number 1",
		good + "      - {name: d, key-file: /l, issuer: j, audience: c,\n         key-algorithm: none}":     "/dir/f:10: realms.a.issuers.2: key-algorithm must be one of",
		good + "      - {name: " + canary + "/, key-file: /l, issuer: j, audience: c}":                      "/dir/f:9: realms.a.issuers.2: name must be letters",
		good + "      - {name: " + strings.Repeat("n", 62) + ", key-file: /l, issuer: j, audience: c}":      "/dir/f:9: realms.a.issuers.2: name is too long",
		good + "      - {name: d, token-file: " + canary + "}":                                              "/dir/f:9: realms.a.issuers.2: unknown key",
		good + "      - {name: d, overlap: 1m}":                                                             "/dir/f:9: realms.a.issuers.2: unknown key; the keys are algorithm, allow-missing-issuer, audience,",
		good + "      - {name: d, isuer: j}":                                                                "/dir/f:9: realms.a.issuers.2: unknown key isuer; did you mean issuer?",
		good + "      - {name: d, audience: []}":                                                            "/dir/f:9: realms.a.issuers.2.audience: the list is empty",
		good + "      - " + canary:                                                                          "/dir/f:9: realms.a.issuers.2: it must be a mapping",
		good + "    audience: d":                                                                            "/dir/f:9: realms.a: audience stands beside issuers; move it into an entry of issuers",
		good + "    key-file: d":                                                                            "/dir/f:9: realms.a: key-file stands beside issuers",
		good + "    max-overlap: 1m":                                                                        "/dir/f:9: realms.a: max-overlap (1m0s) is shorter",
		good + "  a.b: {token-file: y}":                                                                     "/dir/f:9: realms.a.b: one of its sources would have the same name as one of realm a;",
		good + "      - {name: d, jwks-url: 'https://u:" + canary + "@h/', issuer: j, audience: c}":         "/dir/f:9: realms.a.issuers.2: jwks-url: the URL holds a user name",
		"realms: {a: {issuers: {}}}":                                                                        "/dir/f:1: realms.a.issuers: it must be a list",
		"realms: {a: {issuers: []}}":                                                                        "/dir/f:1: realms.a.issuers: it must be a list",
		"realms: {a: {issuers: " + canary + "}}":                                                            "/dir/f:1: realms.a.issuers: it must be a list",
		"realms: {a: {issuers: [{name: b, key-file: /k, issuer: i}]}}":                                      "/dir/f:1: realms.a.issuers.1: audience is missing",
		"defaults: {issuers: [{name: b}]}\nrealms: {a: {}}":                                                 "/dir/f:1: defaults: issuers differs for each realm",
		"defaults: {name: b}\nrealms: {a: {token-file: x}}":                                                 "/dir/f:1: defaults: unknown key",
		"realms:\n  a: {allow-missing-issuer: true, token-file: x}":                                         "/dir/f:2: realms.a: allow-missing-issuer goes with",
		"realms: {a: {issuers: [{name: b, key-file: /k, audience: c, allow-missing-issuer: ,}]}}":           "/dir/f:1: realms.a.issuers.1.allow-missing-issuer: it has no value",
		"realms: {a: {issuers: [{name: b, key-file: /k, audience: c, allow-missing-issuer: " + canary + "}": "",
	} {
		p, err := parse(data)
		if err == nil {
			t.Errorf("%q: accepted as %s", data, text(p))
			continue
		}
		if !strings.HasPrefix(err.Error(), want) || strings.Contains(err.Error(), "CANARY") {
			t.Errorf("%q:\n  %v\nwant\n  %s", data, err, want)
		}
	}
}
