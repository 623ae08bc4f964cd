package jwks

import (
	"encoding/base64"
	"fmt"
	"strings"
	"testing"
)

// helperFile returns the file that spiffe-helper writes for the bundles, which are the
// names of trust domains and their documents in turn.
func helperFile(bundles ...string) []byte {
	members := make(map[string]any)
	for i := 0; i < len(bundles); i += 2 {
		members[bundles[i]] = base64.StdEncoding.EncodeToString([]byte(bundles[i+1]))
	}
	return text(members)
}

// TestBundle: with a trust domain, the keys of its JWT-SVIDs are used and the other keys of
// its bundle are not, from a bundle in each form.
func TestBundle(t *testing.T) {
	t.Parallel()
	ec, rs, ed, hs := signers()["ES256"], signers()["RS256"], signers()["EdDSA"], signers()["HS256"]
	jwtKey := func(s signer, kid string) map[string]any { return without(s.jwk("use", "jwt-svid", "kid", kid), "alg") }
	ca := without(newEC(t).jwk("use", "x509-svid"), "alg")
	ca["x5c"] = []string{"MIIB"}
	doc := func(keys ...map[string]any) []byte {
		return text(map[string]any{"keys": keys, "spiffe_sequence": 7, "spiffe_refresh_hint": 60})
	}
	plain := string(set(without(ec.jwk("kid", "a"), "alg")))
	for name, c := range map[string]struct {
		text         []byte
		want, remote string // remote is "" if it is the same as want
	}{
		"bundle":                     {doc(ca, jwtKey(ec, "a"), jwtKey(rs, "b")), "ES256/a:listed RS256/b:listed", ""},
		"an unknown use":             {doc(jwtKey(ec, "a"), jwtKey(rs, "b"), without(newEC(t).jwk("use", "wit-svid"), "alg")), "ES256/a:listed RS256/b:listed", ""},
		"a use of another case":      {doc(jwtKey(ec, "a"), without(rs.jwk("use", "JWT-SVID"), "alg")), "ES256/a:listed", ""},
		"an unknown type":            {doc(jwtKey(ec, "a"), map[string]any{"kty": "AKP", "use": "jwt-svid", "kid": "b"}), "ES256/a:listed", ""},
		"Ed25519":                    {doc(jwtKey(ec, "a"), jwtKey(ed, "b")), "ES256/a:listed", ""},
		"a secret":                   {doc(jwtKey(ec, "a"), jwtKey(hs, "b")), "ES256/a:listed", ""},
		"without use":                {[]byte(plain), "ES256/a:listed", ""},
		"for sig, as Sentry's":       {set(rs.jwk("use", "sig", "kid", "a+/=")), "RS256/a+/=:listed", ""},
		"PS256":                      {doc(jwtKey(ec, "a"), signers()["PS256"].jwk("use", "jwt-svid", "kid", "b")), "ES256/a:listed PS256/b:listed", ""},
		"spiffe-helper":              {helperFile("other.example", "no bundle", "prod.example", plain), "ES256/a:listed", ""},
		"spiffe-helper, named keys":  {helperFile("keys", "{}", "prod.example", plain), "ES256/a:listed", ""},
		"spiffe-helper, with uses":   {helperFile("prod.example", string(doc(ca, jwtKey(ec, "a")))), "ES256/a:listed", ""},
		"only x509":                  {doc(ca), "f: no key for JWT-SVIDs, which has use jwt-svid", ""},
		"no keys":                    {doc(), `f: a key set without keys; add one`, ""},
		"null keys":                  {[]byte(`{"keys":null}`), `f: a key set without keys; add one`, ""},
		"private":                    {doc(jwtKey(ec, "a"), without(rs.jwk("use", "jwt-svid", "d", "AQAB"), "alg")), "f: keys[1]: a private key", "ES256/a:listed skipped:1"},
		"malformed use":              {doc(jwtKey(ec, "a"), map[string]any{"kty": "EC", "use": 1}), "f: keys[1]: its use is not text", "ES256/a:listed skipped:1"},
		"malformed key":              {doc(jwtKey(ec, "a"), map[string]any{"kty": "EC", "crv": "P-256", "use": "jwt-svid", "x": "AA"}), "f: keys[1]: its members are not a key", "ES256/a:listed skipped:1"},
		"another trust domain":       {helperFile("other.example", plain), "f: no bundle of the trust domain prod.example", ""},
		"a prefix of it":             {helperFile("prod.exampl", plain, "prod.example.evil", plain, "PROD.example", plain), "f: no bundle of the trust domain prod.example", ""},
		"not base64":                 {[]byte(`{"prod.example":"*CANARY*"}`), "f: the bundle of prod.example is not base64", ""},
		"no JSON in it":              {helperFile("prod.example", "CANARY"), "f:1: not JSON", "f: not JSON"},
		"a bundle in a bundle":       {helperFile("prod.example", string(helperFile("other.example", plain))), `f: neither a JWKS nor a JWK`, "f: not a JWKS"},
		"its bundle twice":           {[]byte(`{"prod.example":"","prod.example":""}`), "f:1: an object has a member twice", "f: an object has a member twice"},
		"a key of it twice":          {helperFile("prod.example", `{"keys":[],"keys":[]}`), "f:1: an object has a member twice", "f: an object has a member twice"},
		"the bundle not in a string": {[]byte(`{"prod.example":` + plain + `}`), "f: no bundle of the trust domain", ""},
	} {
		for _, remote := range []bool{false, true} {
			want := c.want
			if remote && c.remote != "" {
				want = c.remote
			}
			k, err := Parse(c.text, ParseOptions{Name: "f", TrustDomain: "prod.example", Remote: remote})
			got := show(k)
			if err != nil {
				got = err.Error()
			}
			if got != want && (err == nil || !strings.HasPrefix(got, want) || strings.Contains(got, "CANARY")) {
				t.Errorf("%s, remote %t: %s\nwant %s", name, remote, got, want)
			}
		}
	}
	for name, c := range map[string]struct {
		text []byte
		want string
	}{
		"a bundle":      {doc(ca, jwtKey(ec, "a")), "f: keys[0]: its use is not sig, so it does not verify signatures; leave the key out, or give the trust domain"},
		"a JWT key":     {doc(jwtKey(ec, "a")), "f: keys[0]: its use is not sig"},
		"spiffe-helper": {helperFile("prod.example", plain), `f: neither a JWKS nor a JWK: the object has neither "keys" nor "kty"; give the trust domain if spiffe-helper wrote it`},
	} {
		if _, err := Parse(c.text, ParseOptions{Name: "f"}); err == nil || !strings.HasPrefix(err.Error(), c.want) {
			t.Errorf("%s without a trust domain: %v, want %s", name, err, c.want)
		}
	}
}

// TestBundleInOtherForms: PEM, one key, and the files of a directory can hold the keys of a
// trust domain, too.
func TestBundleInOtherForms(t *testing.T) {
	t.Parallel()
	ec, ed := signers()["ES256"], signers()["EdDSA"]
	o := ParseOptions{Name: "f", TrustDomain: "prod.example"}
	for name, c := range map[string]struct {
		text []byte
		want string
	}{
		"PEM":         {ec.pem(t), "ES256/:current"},
		"one JWK":     {text(ec.jwk("use", "jwt-svid")), "ES256/:current"},
		"Ed25519 PEM": {ed.pem(t), "a key for another algorithm than RS, PS or ES"},
		"a secret":    {[]byte(canary), "a key for another algorithm than RS, PS or ES"},
	} {
		k, err := Parse(c.text, o)
		if got := show(k) + fmt.Sprint(err); !strings.Contains(got, c.want) {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
		k, err = ParseKeys(map[string][]byte{KeyCurrent: c.text}, o)
		if got := show(k) + fmt.Sprint(err); !strings.Contains(got, c.want) {
			t.Errorf("%s in a directory: %s, want %s", name, got, c.want)
		}
	}
	k, err := ParseKeys(map[string][]byte{KeyJWKS: helperFile("prod.example", string(set(ec.jwk("kid", "a")))), KeyRevoked: []byte("kid b")}, o)
	if got := show(k); err != nil || !strings.HasPrefix(got, "ES256/a:listed revoked:") {
		t.Errorf("jwks.json of spiffe-helper: %s, %v", got, err)
	}
}

// FuzzBundle parses any bundle, as such and in the file of spiffe-helper: no error quotes
// it, only keys for RS, PS and ES are accepted, and both forms give the same keys.
func FuzzBundle(f *testing.F) {
	ec, rs := signers()["ES256"], signers()["RS256"]
	for _, seed := range [][]byte{
		set(without(ec.jwk("use", "jwt-svid", "kid", "a"), "alg"), rs.jwk("use", "x509-svid")), set(ec.jwk("use", "sig", "kid", "zz")), text(ec.jwk()),
		helperFile("td", string(set(ec.jwk()))), []byte(`{"td":"zz"}`), []byte(`{"td":1,"keys":[]}`), []byte(`{"keys":[{"use":"zz"}],"spiffe_sequence":1e9}`),
	} {
		f.Add(seed, false)
		f.Add(seed, true)
	}
	f.Fuzz(func(t *testing.T, a []byte, remote bool) {
		a = []byte(strings.ReplaceAll(string(a), "zz", "CANARY"))
		o := ParseOptions{Name: "f", TrustDomain: "td", Remote: remote}
		k, err := Parse(a, o)
		for _, e := range append(k.Skipped, err) {
			if e != nil && strings.Contains(e.Error(), "CANARY") {
				t.Fatalf("quotes: %v", e)
			}
		}
		for _, d := range k.Decls {
			if alg := d.Value.Algorithm(); !strings.HasPrefix(alg, "ES") && !strings.HasPrefix(alg, "RS") && !strings.HasPrefix(alg, "PS") {
				t.Fatalf("a key for %s", alg)
			}
		}
		if err != nil || !strings.HasPrefix(strings.TrimLeft(string(a), white), "{") || strings.Contains(string(a), "td") {
			return
		}
		inside, err := Parse(helperFile("td", string(a)), o)
		if err != nil || show(inside) != show(k) {
			t.Fatalf("%s, but from the file of spiffe-helper %s, %v", show(k), show(inside), err)
		}
	})
}
