package jwt

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"net/url"
	"path"
	"strings"
	"testing"

	"github.com/golang-jwt/jwt/v5"

	"github.com/tokenagent/tokenagent/pkg/verify"
)

// notInProd are subjects that are no SPIFFE ID of a workload in the trust domain
// prod.example.
func notInProd() map[string]string {
	return map[string]string{
		"another trust domain":       "spiffe://other.example/billing",
		"a suffix":                   "spiffe://prod.example.evil/billing",
		"a suffix without a dot":     "spiffe://prod.example-evil/billing",
		"a prefix":                   "spiffe://evil.prod.example/billing",
		"a part":                     "spiffe://prod.exampl/billing",
		"a trailing dot":             "spiffe://prod.example./billing",
		"upper case":                 "spiffe://PROD.example/billing",
		"upper case scheme":          "SPIFFE://prod.example/billing",
		"a port":                     "spiffe://prod.example:443/billing",
		"an empty port":              "spiffe://prod.example:/billing",
		"a user":                     "spiffe://prod.example@evil/billing",
		"the user prod.example":      "spiffe://evil@prod.example/billing",
		"a percent in the host":      "spiffe://prod%2eexample/billing",
		"a percent in the path":      "spiffe://prod.example/bill%69ng",
		"an encoded slash":           "spiffe://prod.example/a%2fb",
		"a backslash":                `spiffe://prod.example\/billing`,
		"no path":                    "spiffe://prod.example",
		"an empty path":              "spiffe://prod.example/",
		"a trailing slash":           "spiffe://prod.example/billing/",
		"an empty segment":           "spiffe://prod.example//billing",
		"an empty segment inside":    "spiffe://prod.example/a//b",
		"a dot segment":              "spiffe://prod.example/./billing",
		"a dot-dot segment":          "spiffe://prod.example/a/../billing",
		"a dot-dot segment at last":  "spiffe://prod.example/a/..",
		"a dot-dot segment at first": "spiffe://prod.example/../other.example/billing",
		"a query":                    "spiffe://prod.example/billing?a=b",
		"a fragment":                 "spiffe://prod.example/billing#a",
		"a space":                    "spiffe://prod.example/bill ing",
		"a space at the end":         "spiffe://prod.example/billing ",
		"a line break":               "spiffe://prod.example/billing\n",
		"a NUL":                      "spiffe://prod.example/billing\x00",
		"another script":             "spiffe://prod.example/bіlling", // a Cyrillic letter
		"another script in the host": "spiffe://prоd.example/billing",
		"no trust domain":            "spiffe:///billing",
		"one slash":                  "spiffe:/prod.example/billing",
		"three slashes":              "spiffe:///prod.example/billing",
		"another scheme":             "https://prod.example/billing",
		"no scheme":                  "prod.example/billing",
		"a prefix before the scheme": "xspiffe://prod.example/billing",
		"a tilde":                    "spiffe://prod.example/~billing",
		"a long path":                "spiffe://prod.example/" + strings.Repeat("a", 2048-len("spiffe://prod.example/")+1),
		"empty":                      "",
		"a name":                     "alice",
		"an IPv6 address":            "spiffe://[::1]/billing",
	}
}

func TestTrustDomainOf(t *testing.T) {
	t.Parallel()
	for id, want := range map[string]string{
		"spiffe://prod.example/billing":              "prod.example",
		"spiffe://prod.example/ns/Default/sa/a_b.c-": "prod.example",
		"spiffe://a/b":                   "a",
		"spiffe://127.0.0.1/...":         "127.0.0.1", // three dots are a name
		"spiffe://-_./.hidden/-":         "-_.",
		"spiffe://other.example/billing": "other.example",
		"spiffe://prod.example/" + strings.Repeat("a", 2048-len("spiffe://prod.example/")): "prod.example",
		"spiffe://" + strings.Repeat("a", 255) + "/b":                                      strings.Repeat("a", 255),
		"spiffe://" + strings.Repeat("a", 256) + "/b":                                      "",
	} {
		if got, ok := TrustDomainOf(id); got != want || ok != (want != "") {
			t.Errorf("%.60q: %.60q, %t", id, got, ok)
		}
	}
	for name, id := range notInProd() {
		if got, ok := TrustDomainOf(id); got == "prod.example" || ok && name != "another trust domain" && !strings.Contains(name, "fix") && name != "a part" && name != "a trailing dot" {
			t.Errorf("%s, %.60q: %q, %t", name, id, got, ok)
		}
	}
}

// FuzzTrustDomainOf compares TrustDomainOf with what net/url reads. test/e2e compares it
// with go-spiffe.
func FuzzTrustDomainOf(f *testing.F) {
	f.Add("spiffe://prod.example/billing")
	for _, id := range notInProd() {
		f.Add(id)
	}
	f.Fuzz(func(t *testing.T, id string) {
		trustDomain, ok := TrustDomainOf(id)
		if !ok {
			return
		}
		u, err := url.Parse(id)
		if err != nil {
			t.Fatalf("%q is not a URL: %v", id, err)
		}
		want := url.URL{Scheme: "spiffe", Host: trustDomain, Path: u.Path}
		if *u != want || u.String() != id || path.Clean(u.Path) != u.Path || u.Path == "/" || strings.ToLower(trustDomain) != trustDomain {
			t.Fatalf("%q has the trust domain %q, but net/url reads %#v", id, trustDomain, u)
		}
	})
}

// ecKey returns a key for ES256 that counts its checks, and its signer.
func ecKey(tb testing.TB, kid string) (signingKey, Key, *counting) {
	tb.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	k := signingKey{"ES256", private, &private.PublicKey}
	key := k.key(tb, kid)
	c := &counting{SigningMethod: jwt.SigningMethodES256}
	(*key.k).method = c
	return k, key, c
}

// svid returns the claims of a JWT-SVID of id, changed by change.
func svid(id string, change map[string]any) jwt.MapClaims {
	claims := claimsNow(map[string]any{"iss": nil, "jti": nil, "iat": nil, "nbf": nil, "sub": id})
	for name, value := range change {
		if claims[name] = value; value == nil {
			delete(claims, name)
		}
	}
	return claims
}

// TestJWTSVID: an issuer with a trust domain accepts exactly what the JWT-SVID
// specification accepts for that trust domain.
func TestJWTSVID(t *testing.T) {
	t.Parallel()
	const id = "spiffe://prod.example/billing"
	set := keySet(t, nil, signingKeys()["ES256"].key(t, ""))
	prod := func(c *Config) { c.Issuer, c.TrustDomain = "", "prod.example" }
	v := verifier(t, set, prod)
	named := verifier(t, set, func(c *Config) { c.TrustDomain = "prod.example" })
	either := verifier(t, set, func(c *Config) { c.TrustDomain, c.AllowMissingIssuer = "prod.example", true })
	es := signingKeys()["ES256"]
	sign := func(change, header map[string]any) string { return es.sign(t, svid(id, change), header) }

	for alg, k := range signingKeys() {
		var want error
		if strings.HasPrefix(alg, "HS") || alg == "EdDSA" {
			want = errAlgorithm
		}
		if err := verdictOf(verifier(t, keySet(t, nil, k.key(t, "")), prod), k.sign(t, svid(id, nil), nil)); !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", alg, err, want)
		}
	}
	for name, c := range map[string]struct {
		token string
		want  error
	}{
		"plain":             {sign(nil, map[string]any{"typ": nil}), nil},
		"typ JWT":           {sign(nil, nil), nil},
		"typ JOSE":          {sign(nil, map[string]any{"typ": "JOSE"}), nil},
		"typ jwt":           {sign(nil, map[string]any{"typ": "jwt"}), errType},
		"typ at+jwt":        {sign(nil, map[string]any{"typ": "at+jwt"}), errType},
		"typ wit+jwt":       {sign(nil, map[string]any{"typ": "wit+jwt"}), errType},
		"two audiences":     {sign(map[string]any{"aud": []string{"x", audience}}, nil), nil},
		"no aud":            {sign(map[string]any{"aud": nil}, nil), errAudience},
		"an empty aud":      {sign(map[string]any{"aud": []string{}}, nil), errAudience},
		"another aud":       {sign(map[string]any{"aud": "x"}, nil), errAudience},
		"no exp":            {sign(map[string]any{"exp": nil}, nil), errNoExpiry},
		"any iss":           {sign(map[string]any{"iss": "https://spire.example"}, nil), nil},
		"an empty iss":      {sign(map[string]any{"iss": ""}, nil), errIssuer},
		"iss is a list":     {sign(map[string]any{"iss": []string{issuer}}, nil), errIssuer},
		"no sub":            {sign(map[string]any{"sub": nil}, nil), errSPIFFEID},
		"sub is a number":   {sign(map[string]any{"sub": 7}, nil), errSPIFFEID},
		"sub is a list":     {sign(map[string]any{"sub": []string{id}}, nil), errSubject},
		"kid of no key":     {sign(nil, map[string]any{"kid": "x"}), nil}, // the key has no name
		"signed by nobody":  {sign(nil, nil) + "AAAA", ErrSignature},
		"other trustdomain": {sign(map[string]any{"sub": "spiffe://other.example/billing"}, nil), errTrustDomain},
	} {
		p, err := v.Verify(t.Context(), c.token)
		if !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
		if c.want == nil && err == nil && p.Subject() != id {
			t.Errorf("%s: subject %q", name, p.Subject())
		}
	}
	for name, subject := range notInProd() {
		if err := verdictOf(v, sign(map[string]any{"sub": subject}, nil)); !errors.Is(err, errSPIFFEID) && !errors.Is(err, errTrustDomain) {
			t.Errorf("%s, %.60q: %v", name, subject, err)
		}
	}
	for iss, want := range map[any][2]bool{nil: {false, true}, issuer: {true, true}, otherIssuer: {false, false}} {
		token := sign(map[string]any{"iss": iss}, nil)
		if a, b := verdictOf(named, token) == nil, verdictOf(either, token) == nil; a != want[0] || b != want[1] {
			t.Errorf("iss %v, with an Issuer: accepted %t, with AllowMissingIssuer %t, want %v", iss, a, b, want)
		}
	}
}

// TestTrustDomainsAreNotConfused: two trust domains, an issuer with a name, and one for
// tokens without iss use the same kid. The iss of a token or, without an iss that is known,
// the trust domain in its sub decides whose key is tried, and the keys of one of them never
// vouch for a SPIFFE ID of another.
func TestTrustDomainsAreNotConfused(t *testing.T) {
	t.Parallel()
	names := []string{"prod", "test", "corp", "any"}
	configs := []Config{
		{TrustDomain: "prod.example"},
		{TrustDomain: "test.example", Issuer: "https://spire.test.example"},
		{Issuer: issuer},
		{AllowMissingIssuer: true},
	}
	signers, counts := make(map[string]signingKey), make(map[string]*counting)
	var issuers []*Issuer
	for i, c := range configs {
		k, key, count := ecKey(t, "k1")
		c.Audiences = []string{audience}
		iss, err := NewIssuer(fixed(keySet(t, nil, key)), c)
		if err != nil {
			t.Fatal(err)
		}
		signers[names[i]], counts[names[i]] = k, count
		issuers = append(issuers, iss)
	}
	v := NewVerifier(0, issuers...)
	const prod, test, spire = "spiffe://prod.example/a", "spiffe://test.example/a", "https://spire.test.example"
	for name, c := range map[string]struct {
		signer, sub string
		iss         any
		tried       string // whose key is tried
		good        bool
	}{
		"prod":                                {"prod", prod, nil, "prod", true},
		"prod with an iss that nobody has":    {"prod", prod, "https://x.example", "prod", true},
		"prod with the iss of corp":           {"prod", prod, issuer, "corp", false},
		"prod with the iss of test":           {"prod", prod, spire, "test", false},
		"prod for test":                       {"prod", test, spire, "test", false},
		"prod for test, no iss":               {"prod", test, nil, "", false}, // test wants its iss
		"prod for test, another iss":          {"prod", test, "https://x.example", "", false},
		"prod for a suffix":                   {"prod", "spiffe://prod.example.evil/a", nil, "any", false},
		"prod for a name":                     {"prod", "alice", nil, "any", false},
		"test":                                {"test", test, spire, "test", true},
		"test without iss":                    {"test", test, nil, "", false},
		"test for prod":                       {"test", prod, nil, "prod", false},
		"test for prod, with its own iss":     {"test", prod, spire, "test", false},
		"test for a name, with its own iss":   {"test", "alice", spire, "test", false},
		"corp":                                {"corp", "alice", issuer, "corp", true},
		"corp for prod":                       {"corp", prod, issuer, "corp", false},
		"corp for test":                       {"corp", test, issuer, "corp", false},
		"corp for prod, no iss":               {"corp", prod, nil, "prod", false},
		"corp for a trust domain of nobody":   {"corp", "spiffe://x.example/a", issuer, "corp", true},
		"any":                                 {"any", "alice", nil, "any", true},
		"any with an iss":                     {"any", "alice", "https://x.example", "", false},
		"any for prod":                        {"any", prod, nil, "prod", false},
		"any for something like prod":         {"any", "spiffe://PROD.example/a", nil, "any", false},
		"any for a trust domain of nobody":    {"any", "spiffe://x.example/a", nil, "any", true},
		"prod signed by corp, with its iss":   {"corp", prod, "https://x.example", "prod", false},
		"an empty iss":                        {"prod", prod, "", "", false},
		"an iss that is a list":               {"prod", prod, []string{"https://x.example"}, "", false},
		"no sub":                              {"prod", "", nil, "any", false},
		"prod signed by any, with an iss":     {"any", prod, "https://x.example", "prod", false},
		"prod, sub is not the first in order": {"prod", prod, "zzz", "prod", true},
	} {
		token := signers[c.signer].sign(t, svid(c.sub, map[string]any{"iss": c.iss}), map[string]any{"kid": "k1"})
		for range 2 { // the second time perhaps from the cache
			before := make(map[string]int64)
			for name, n := range counts {
				before[name] = n.checks.Load()
			}
			_, at, err := v.VerifyIssuer(t.Context(), token)
			if (err == nil) != c.good || err != nil && !errors.Is(err, verify.ErrInvalidToken) || err == nil && names[at] != c.tried {
				t.Errorf("%s: issuer %d, %v, want accepted %t", name, at, err, c.good)
			}
			for n, count := range counts {
				if count.checks.Load() != before[n] && n != c.tried {
					t.Errorf("%s: the key of %s was tried, want that of %q", name, n, c.tried)
				}
			}
		}
	}
	// A name with escapes is not found before the signature is checked.
	escaped := signers["any"].signRaw(t, `{"alg":"ES256","kid":"k1"}`, strings.Replace(text(t, svid(prod, nil)), `"sub"`, `"s\u0075b"`, 1))
	if err := verdictOf(v, escaped); !errors.Is(err, verify.ErrInvalidToken) {
		t.Errorf("an escaped sub of prod, signed by any: %v", err)
	}
	twice := signers["prod"].signRaw(t, `{"alg":"ES256","kid":"k1"}`, strings.Replace(text(t, svid(prod, nil)), `{`, `{"sub":"spiffe://prod.example/b",`, 1))
	if err := verdictOf(v, twice); !errors.Is(err, errTwice) {
		t.Errorf("sub twice: %v", err)
	}
}

// TestOtherIssuersDoNotSignForAlmostSPIFFEIDs: beside a trust domain, an issuer without one
// vouches for no subject that an app could take for a SPIFFE ID of the trust domain.
func TestOtherIssuersDoNotSignForAlmostSPIFFEIDs(t *testing.T) {
	t.Parallel()
	k, key, _ := ecKey(t, "k1")
	newIssuer := func(c Config) *Issuer {
		c.Audiences = []string{audience}
		iss, err := NewIssuer(fixed(keySet(t, nil, key)), c)
		if err != nil {
			t.Fatal(err)
		}
		return iss
	}
	alone := NewVerifier(0, newIssuer(Config{Issuer: issuer}))
	beside := NewVerifier(0, newIssuer(Config{Issuer: issuer}), newIssuer(Config{TrustDomain: "prod.example"}))
	subjects := notInProd()
	subjects["mixed case"] = "sPiFfE://prod.example/x"
	subjects["the scheme"] = "spiffe://"
	for name, subject := range subjects {
		_, isID := TrustDomainOf(subject)
		accepted := isID || !strings.HasPrefix(strings.ToLower(subject), "spiffe://")
		token := k.sign(t, svid(subject, map[string]any{"iss": issuer}), nil)
		if err := verdictOf(beside, token); accepted && err != nil || !accepted && !errors.Is(err, errSPIFFEID) {
			t.Errorf("%s, %.60q: %v, want accepted %t", name, subject, err, accepted)
		}
		if err := verdictOf(alone, token); err != nil {
			t.Errorf("%s, %.60q, without a trust domain: %v", name, subject, err)
		}
	}
}
