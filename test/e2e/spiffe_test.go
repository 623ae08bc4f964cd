package e2e

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"log/slog"
	"maps"
	"math/big"
	mathrand "math/rand/v2"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/spiffe/go-spiffe/v2/bundle/jwtbundle"
	"github.com/spiffe/go-spiffe/v2/bundle/spiffebundle"
	"github.com/spiffe/go-spiffe/v2/federation"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/svid/jwtsvid"

	"github.com/tokenagent/tokenagent/agent"
	"github.com/tokenagent/tokenagent/internal/jwt"
)

// FuzzSPIFFEID compares our parser of SPIFFE IDs with go-spiffe's. Ours also wants a path,
// because an ID without one names no workload, and checks the lengths (SPIFFE-ID section
// 2.3).
func FuzzSPIFFEID(f *testing.F) {
	for _, id := range []string{
		"spiffe://prod.example/billing", "spiffe://prod.example", "spiffe://prod.example/", "spiffe://prod.example//a", "spiffe://prod.example/./a", "spiffe://prod.example/../a",
		"spiffe://PROD.example/a", "spiffe://prod.example:1/a", "spiffe://u@prod.example/a", "spiffe://prod.example/%61", "spiffe:///a", "spiffe://prod.example.evil/a", "SPIFFE://a/b",
		"spiffe://a/B-_.9", "spiffe://a/b/", "spiffe://a/...", "spiffe://a_b/c", "spiffe://a/b?c", "spiffe://a/b#c", "spiffe://a/\u00e9", "spiffe://a/" + strings.Repeat("b", 2037), "spiffe://a/" + strings.Repeat("b", 2038),
		"spiffe://" + strings.Repeat("a", 255) + "/b", "spiffe://" + strings.Repeat("a", 256) + "/b", "", "alice",
	} {
		f.Add(id)
	}
	f.Fuzz(func(t *testing.T, id string) {
		got, ok := jwt.TrustDomainOf(id)
		theirs, err := spiffeid.FromString(id)
		want := err == nil && theirs.Path() != "" && len(id) <= 2048 && len(theirs.TrustDomain().Name()) <= 255
		if ok != want || ok && got != theirs.TrustDomain().Name() {
			t.Fatalf("%q: %q, %t, but go-spiffe: %q, %v", id, got, ok, theirs.TrustDomain(), err)
		}
		_, err = spiffeid.TrustDomainFromString(id)
		if valid := jwt.ValidTrustDomain(id); valid != (err == nil && len(id) <= 255 && !strings.Contains(id, ":/")) {
			t.Fatalf("%q is a valid trust domain: %t, but go-spiffe: %v", id, valid, err)
		}
	})
}

// An authority signs the JWT-SVIDs of a trust domain.
type authority struct {
	trustDomain spiffeid.TrustDomain
	keys        map[string]crypto.Signer // by kid
}

func newAuthority(t *testing.T, trustDomain string) *authority {
	t.Helper()
	a := &authority{spiffeid.RequireTrustDomainFromString(trustDomain), make(map[string]crypto.Signer)}
	rs, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	a.keys["RS256"] = rs
	for alg, curve := range map[string]elliptic.Curve{"ES256": elliptic.P256(), "ES384": elliptic.P384(), "ES512": elliptic.P521()} {
		if a.keys[alg], err = ecdsa.GenerateKey(curve, rand.Reader); err != nil {
			t.Fatal(err)
		}
	}
	return a
}

// bundle returns the JWT bundle of a.
func (a *authority) bundle() *jwtbundle.Bundle {
	public := make(map[string]crypto.PublicKey)
	for kid, key := range a.keys {
		public[kid] = key.Public()
	}
	return jwtbundle.FromJWTAuthorities(a.trustDomain, public)
}

// full returns the SPIFFE bundle of a, with an X.509 authority.
func (a *authority) full(t *testing.T) *spiffebundle.Bundle {
	t.Helper()
	b := spiffebundle.FromJWTBundle(a.bundle())
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), IsCA: true, BasicConstraintsValid: true, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	root, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	b.AddX509Authority(root)
	b.SetSequenceNumber(7)
	b.SetRefreshHint(time.Minute)
	return b
}

// sign signs claims with the key kid. header changes the header.
func (a *authority) sign(t *testing.T, kid string, claims, header map[string]any) string {
	t.Helper()
	alg, named := kid, true
	if value, has := header["alg"]; has {
		alg = value.(string)
	}
	var o jose.SignerOptions
	for name, value := range header {
		if name == "kid" {
			named = value != nil
		} else if name != "alg" {
			o.WithHeader(jose.HeaderKey(name), value)
		}
	}
	key := jose.JSONWebKey{Key: a.keys[kid]}
	if named {
		key.KeyID = kid
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.SignatureAlgorithm(alg), Key: key}, &o)
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(claims)
	if err != nil {
		t.Fatal(err)
	}
	signed, err := signer.Sign(text)
	if err != nil {
		t.Fatal(err)
	}
	token, err := signed.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// svid returns the claims of a good JWT-SVID of id.
func svid(id string) map[string]any {
	return map[string]any{"sub": id, "aud": []string{"orders"}, "exp": time.Now().Add(time.Hour).Unix(), "iat": time.Now().Unix()}
}

// helperFile returns what spiffe-helper writes for the bundles: the base64 of each, by the
// name of its trust domain.
func helperFile(t *testing.T, authorities ...*authority) []byte {
	t.Helper()
	encoded := make(map[string]string)
	for _, a := range authorities {
		text, err := a.bundle().Marshal()
		if err != nil {
			t.Fatal(err)
		}
		encoded[a.trustDomain.Name()] = base64.StdEncoding.EncodeToString(text)
	}
	text, err := json.Marshal(encoded)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// TestSVIDsAsGoSPIFFE: an agent with two trust domains and go-spiffe's ParseAndValidate
// decide the same about thousands of JWT-SVIDs, good ones and others.
func TestSVIDsAsGoSPIFFE(t *testing.T) {
	t.Parallel()
	authorities := []*authority{newAuthority(t, "prod.example"), newAuthority(t, "test.example")}
	file := filepath.Join(t.TempDir(), "jwt_bundle.json")
	if err := os.WriteFile(file, helperFile(t, authorities...), 0o600); err != nil {
		t.Fatal(err)
	}
	var issuers []agent.Issuer
	for _, a := range authorities {
		issuers = append(issuers, agent.Issuer{
			Name: a.trustDomain.Name(), KeyFile: file, JWT: agent.JWT{TrustDomain: a.trustDomain.Name(), Audiences: []string{"orders"}, Leeway: time.Minute},
		})
	}
	ag, err := agent.Start(t.Context(), agent.Config{Issuers: issuers, PollOnly: true, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ag.Close() })
	bundles := jwtbundle.NewSet(authorities[0].bundle(), authorities[1].bundle())

	r := mathrand.New(mathrand.NewPCG(1, 2))
	pick := func(values ...any) any { return values[r.IntN(len(values))] }
	subjects := []any{
		"spiffe://prod.example/billing", "spiffe://test.example/billing", "spiffe://prod.example/ns/A/sa/b_c", "spiffe://prod.example.evil/billing", "spiffe://evil.example/billing",
		"spiffe://PROD.example/billing", "spiffe://prod.example:443/billing", "spiffe://prod.example/a%2fb", "spiffe://prod.example//billing", "spiffe://prod.example/../billing",
		"spiffe://prod.example/billing/", "spiffe://u@prod.example/billing", "SPIFFE://prod.example/billing", "billing", "", 7, nil,
		[]string{"spiffe://prod.example/billing"},
	}
	now := time.Now()
	accepted, refused := 0, 0
	for i := range 3000 {
		a, kid := authorities[r.IntN(2)], pick("RS256", "ES256", "ES384", "ES512").(string)
		claims, header := svid("spiffe://"+a.trustDomain.Name()+"/"+strconv.Itoa(i)), make(map[string]any)
		for range r.IntN(3) {
			maps.Copy(claims, pick(
				map[string]any{"sub": pick(subjects...)},
				map[string]any{"aud": pick("orders", "other", []string{"other", "orders"}, []string{}, nil)},
				map[string]any{"exp": pick(now.Add(time.Hour).Unix(), now.Add(-time.Hour).Unix(), nil)},
				map[string]any{"nbf": pick(now.Add(-time.Hour).Unix(), now.Add(time.Hour).Unix())},
				map[string]any{"iss": pick("https://spire.example", "spiffe://prod.example")},
				map[string]any{"iat": now.Unix(), "x": []int{1}},
			).(map[string]any))
			if r.IntN(3) == 0 {
				header["typ"] = pick("JWT", "JOSE", "jwt", "at+jwt")
			}
		}
		maps.DeleteFunc(claims, func(_ string, value any) bool { return value == nil })
		token := a.sign(t, kid, claims, header)
		p, ours := ag.Verify(t.Context(), token)
		theirs, err := jwtsvid.ParseAndValidate(token, bundles, []string{"orders"})
		if (ours == nil) != (err == nil) {
			t.Fatalf("ours: %v, go-spiffe: %v\n%v %v", ours, err, header, claims)
		}
		if ours != nil {
			refused++
			continue
		}
		accepted++
		if p.Subject() != theirs.ID.String() || p.Source() != theirs.ID.TrustDomain().Name() || p.KeyID() != kid {
			t.Errorf("%q of %q with key %q, but go-spiffe: %q", p.Subject(), p.Source(), p.KeyID(), theirs.ID)
		}
	}
	if accepted < 500 || refused < 500 {
		t.Errorf("%d accepted and %d refused; the test tests too little", accepted, refused)
	}

	// Ours is stricter in two ways: an ID without a path is no workload's, and a key is used
	// with one algorithm.
	a := authorities[0]
	for what, token := range map[string]string{
		"no path": a.sign(t, "ES256", svid("spiffe://prod.example"), nil),
		"RS512":   a.sign(t, "RS256", svid("spiffe://prod.example/billing"), map[string]any{"alg": "RS512"}),
	} {
		if _, err := jwtsvid.ParseAndValidate(token, bundles, []string{"orders"}); err != nil {
			t.Errorf("%s: go-spiffe refuses it, too: %v", what, err)
		}
		if _, err := ag.Verify(t.Context(), token); err == nil {
			t.Errorf("%s is accepted", what)
		}
	}
	// It is laxer in one: the kid is optional (JWT-SVID section 2.2).
	if _, err := ag.Verify(t.Context(), a.sign(t, "ES256", svid("spiffe://prod.example/billing"), map[string]any{"kid": nil})); err != nil {
		t.Errorf("no kid: %v", err)
	}
}

// TestSPIFFEBundles: the program takes the keys of a trust domain from each form of bundle
// that go-spiffe writes, follows a rotation, and accepts no key of another trust domain.
func TestSPIFFEBundles(t *testing.T) {
	t.Parallel()
	const id = "spiffe://prod.example/billing"
	other := newAuthority(t, "test.example")
	for form, write := range map[string]func(*testing.T, *authority) []byte{
		"spiffe-helper": func(t *testing.T, a *authority) []byte { t.Helper(); return helperFile(t, a, other) },
		"SPIFFE bundle": func(t *testing.T, a *authority) []byte {
			t.Helper()
			text, err := a.full(t).Marshal()
			if err != nil {
				t.Fatal(err)
			}
			return text
		},
		"JWT bundle": func(t *testing.T, a *authority) []byte {
			t.Helper()
			text, err := a.bundle().Marshal()
			if err != nil {
				t.Fatal(err)
			}
			return text
		},
	} {
		t.Run(form, func(t *testing.T) {
			t.Parallel()
			a, next := newAuthority(t, "prod.example"), newAuthority(t, "prod.example")
			file := filepath.Join(t.TempDir(), "bundle.json")
			put := func(a *authority) { // in place, as spiffe-helper does
				if err := os.WriteFile(file, write(t, a), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			put(a)
			p := startVerifier(t, "--trust-domain", "prod.example", "--key-file", file, "--audience", "orders", "--debounce", "50ms")
			for kid := range a.keys {
				p.want(a.sign(t, kid, svid(id), nil), id)
			}
			p.want(a.sign(t, "ES256", svid("spiffe://test.example/billing"), nil), "")
			p.want(other.sign(t, "ES256", svid("spiffe://test.example/billing"), nil), "")
			p.want(other.sign(t, "ES256", svid(id), nil), "")
			put(next)
			p.eventually(next.sign(t, "ES256", svid(id), nil), id)
			p.want(a.sign(t, "ES256", svid(id), nil), "")
		})
	}
}

// TestBundleEndpoint: the program takes the keys of a trust domain from go-spiffe's bundle
// endpoint.
func TestBundleEndpoint(t *testing.T) {
	t.Parallel()
	const id = "spiffe://prod.example/billing"
	a := newAuthority(t, "prod.example")
	handler, err := federation.NewHandler(a.trustDomain, a.full(t))
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewTLSServer(handler)
	t.Cleanup(srv.Close)
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: srv.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	p := startVerifier(t, "--trust-domain", "prod.example", "--jwks-url", srv.URL, "--jwks-ca-file", ca, "--audience", "orders")
	for kid := range a.keys {
		p.want(a.sign(t, kid, svid(id), nil), id)
	}
	p.want(a.sign(t, "ES256", svid("spiffe://test.example/billing"), nil), "")
}
