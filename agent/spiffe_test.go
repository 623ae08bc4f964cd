package agent_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	gojwt "github.com/golang-jwt/jwt/v5"

	"github.com/tokenagent/tokenagent/agent"
)

const (
	domainA = "a.example"
	domainB = "b.example"
)

// An authority signs the JWT-SVIDs of a trust domain.
type authority struct{ *ecdsa.PrivateKey }

func newAuthority(t *testing.T) authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return authority{key}
}

// jwk returns the public key with the kid "k1", as in a SPIFFE bundle.
func (k authority) jwk(t *testing.T) string {
	t.Helper()
	point, err := k.PublicKey.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	b64 := base64.RawURLEncoding.EncodeToString
	return fmt.Sprintf(`{"kty":"EC","crv":"P-256","use":"jwt-svid","kid":"k1","x":%q,"y":%q}`, b64(point[1:33]), b64(point[33:]))
}

func (k authority) bundle(t *testing.T) string {
	t.Helper()
	return `{"keys":[` + k.jwk(t) + `],"spiffe_sequence":1}`
}

func (k authority) pem(t *testing.T) string {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(k.Public())
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
}

// sign returns a JWT-SVID of id.
func (k authority) sign(t *testing.T, id string) string {
	t.Helper()
	token := gojwt.NewWithClaims(gojwt.SigningMethodES256, gojwt.MapClaims{"sub": id, "aud": "orders", "exp": time.Now().Add(time.Hour).Unix()})
	token.Header["kid"] = "k1"
	text, err := token.SignedString(k.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// helperFile returns what spiffe-helper writes for the bundles of trust domains.
func helperFile(t *testing.T, bundles map[string]string) string {
	t.Helper()
	encoded := make(map[string]string)
	for trustDomain, bundle := range bundles {
		encoded[trustDomain] = base64.StdEncoding.EncodeToString([]byte(bundle))
	}
	text, err := json.Marshal(encoded)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// trustDomainAt returns an Issuer for the JWT-SVIDs of a trust domain.
func trustDomainAt(name, trustDomain, path string) agent.Issuer {
	return agent.Issuer{Name: name, KeyFile: path, JWT: agent.JWT{TrustDomain: trustDomain, Audiences: []string{"orders"}}}
}

// TestP5_KeysOfOneTrustDomainDoNotVouchForAnother: two trust domains, whose bundles
// spiffe-helper writes into one file, use the same kid, and so does an issuer without a
// trust domain. Each rotates alone.
func TestP5_KeysOfOneTrustDomainDoNotVouchForAnother(t *testing.T) {
	t.Parallel()
	a, b, next, c := newAuthority(t), newAuthority(t), newAuthority(t), newIssuer(t)
	path := file(t, helperFile(t, map[string]string{domainA: a.bundle(t), domainB: b.bundle(t)}))
	ag := start(t, withIssuers(trustDomainAt("a", domainA, path), keysAt("c", issA, file(t, c.public)), trustDomainAt("b", domainB, path)))
	const idA, idB = "spiffe://a.example/billing", "spiffe://b.example/billing"
	for what, token := range map[string]string{"A": a.sign(t, idA), "B": b.sign(t, idB), "C": c.signFor(t, issA, "")} {
		wantClass(t, ag, what, token, "ok")
	}
	p, err := ag.Verify(t.Context(), a.sign(t, idA))
	if err != nil || p.Subject() != idA || p.Source() != "a" {
		t.Errorf("%q from %q, %v", p.Subject(), p.Source(), err)
	}
	for what, token := range map[string]string{
		"A signed by B": b.sign(t, idA), "B signed by A": a.sign(t, idB), "A's ID with a suffix": a.sign(t, "spiffe://a.example.evil/billing"),
		"the trust domain alone": a.sign(t, "spiffe://a.example"), "upper case": a.sign(t, "spiffe://A.example/billing"), "a name": a.sign(t, "billing"),
		"C without iss": c.signFor(t, "", ""),
	} {
		wantClass(t, ag, what, token, "invalid")
	}
	old := a.sign(t, idA)
	replace(t, path, helperFile(t, map[string]string{domainA: next.bundle(t), domainB: b.bundle(t)}))
	if _, err := ag.Reload(); err != nil {
		t.Fatal(err)
	}
	wantClass(t, ag, "the old key of A", old, "invalid")
	wantClass(t, ag, "the new key of A", next.sign(t, idA), "ok")
	wantClass(t, ag, "the new key of A, for B", next.sign(t, idB), "invalid")
	wantClass(t, ag, "B", b.sign(t, idB), "ok")
}

// TestP4_BundleOfTheTrustDomainIsMissing: a file without the bundle of the trust domain, or
// with an empty one, changes nothing.
func TestP4_BundleOfTheTrustDomainIsMissing(t *testing.T) {
	t.Parallel()
	a := newAuthority(t)
	path := file(t, helperFile(t, map[string]string{domainA: a.bundle(t)}))
	ag := start(t, withIssuers(trustDomainAt("a", domainA, path)))
	for want, text := range map[string]string{
		"no bundle of the trust domain a.example": helperFile(t, map[string]string{domainB: a.bundle(t)}),
		"a key set without keys":                  helperFile(t, map[string]string{domainA: `{"keys":[]}`}),
		"no key for JWT-SVIDs":                    strings.Replace(a.bundle(t), "jwt-svid", "x509-svid", 1),
	} {
		replace(t, path, text)
		if _, err := ag.Reload(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
		wantClass(t, ag, want, a.sign(t, "spiffe://a.example/billing"), "ok")
	}
}

// TestBundleEndpoint: keys come from the bundle endpoint of a trust domain, and a key that
// is withdrawn there is refused.
func TestBundleEndpoint(t *testing.T) {
	t.Parallel()
	a, next := newAuthority(t), newAuthority(t)
	var bundle atomic.Value
	bundle.Store(a.bundle(t))
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = fmt.Fprint(w, bundle.Load()) }))
	t.Cleanup(srv.Close)
	iss := trustDomainAt("a", domainA, "")
	iss.JWKSURL = srv.URL
	ag := start(t, withIssuers(iss))
	const id = "spiffe://a.example/billing"
	old := a.sign(t, id)
	wantClass(t, ag, "the key", old, "ok")
	bundle.Store(next.bundle(t))
	if _, err := ag.Reload(); err != nil {
		t.Fatal(err)
	}
	wantClass(t, ag, "the new key", next.sign(t, id), "ok")
	wantClass(t, ag, "the old key", old, "invalid")
}

// TestP5_KeysInTheStateFileOfAnotherTrustDomain: a superseded key that a state file or a
// Snapshot has of one trust domain verifies no JWT-SVIDs of another.
func TestP5_KeysInTheStateFileOfAnotherTrustDomain(t *testing.T) {
	t.Parallel()
	a, next := newAuthority(t), newAuthority(t)
	path := file(t, a.pem(t))
	cfg := withIssuers(trustDomainAt("a", domainA, path))
	cfg.StateFile = stateFile(t)
	old := start(t, cfg)
	replace(t, path, next.pem(t))
	if _, err := old.Reload(); err != nil {
		t.Fatal(err)
	}
	const idA, idB = "spiffe://a.example/billing", "spiffe://b.example/billing"
	wantClass(t, old, "the superseded key", a.sign(t, idA), "ok")
	moved := cfg
	moved.Issuers = []agent.Issuer{trustDomainAt("a", domainB, path)}
	moved.StateFile = ""
	wantClass(t, startFrom(t, old, moved), "the superseded key of A in a Snapshot, for B", a.sign(t, idB), "invalid")
	if err := old.Close(); err != nil {
		t.Fatal(err)
	}
	again := start(t, cfg)
	wantClass(t, again, "the superseded key after a restart", a.sign(t, idA), "ok")
	if err := again.Close(); err != nil {
		t.Fatal(err)
	}
	moved.StateFile = cfg.StateFile
	ag := start(t, moved)
	wantClass(t, ag, "the superseded key of A in the state file, for B", a.sign(t, idB), "invalid")
	wantClass(t, ag, "the key of the source", next.sign(t, idB), "ok")
}

func TestTrustDomainConfigErrors(t *testing.T) {
	t.Parallel()
	path := file(t, newAuthority(t).bundle(t))
	for want, change := range map[string]func(c *agent.Config){
		"": func(c *agent.Config) {
			c.Issuers[0].JWT.AllowMissingIssuer, c.Issuers[1].JWT.AllowMissingIssuer, c.Issuers[2].JWT.AllowMissingIssuer = true, true, true
		},
		"issuer 2: Issuer.JWT.TrustDomain is the same as that of issuer 1":            func(c *agent.Config) { c.Issuers[1].JWT.TrustDomain = domainA },
		"issuer 1: Issuer.JWT.TrustDomain must be lower-case letters":                 func(c *agent.Config) { c.Issuers[0].JWT.TrustDomain = "spiffe://a.example" },
		"issuer 2: Issuer.JWT.Types and Issuer.JWT.TrustDomain are both set":          func(c *agent.Config) { c.Issuers[1].JWT.Types = []string{"JWT"} },
		"issuer 2: Issuer.JWT.Algorithms must be one of RS256, RS384, RS512, ES256, ": func(c *agent.Config) { c.Issuers[1].JWT.Algorithms = []string{"EdDSA"} },
		"issuer 1: Issuer.JWT.Audiences is missing":                                   func(c *agent.Config) { c.Issuers[0].JWT.Audiences = nil },
	} {
		cfg := withIssuers(trustDomainAt("a", domainA, path), trustDomainAt("b", domainB, path), keysAt("c", issA, path))
		change(&cfg)
		if err := cfg.Validate(); (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}
