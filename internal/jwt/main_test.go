package jwt

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"maps"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/tokenagent/tokenagent/internal/rotation"
	"github.com/tokenagent/tokenagent/pkg/verify"
)

// The parties of the JWT tests.
const (
	issuer   = "https://issuer.example"
	audience = "orders"
)

// A signingKey signs by one algorithm; verifying takes public.
type signingKey struct {
	alg             string
	private, public any
}

// signingKeys returns a key for each algorithm, made once.
var signingKeys = sync.OnceValue(func() map[string]signingKey {
	all := make(map[string]signingKey)
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	for _, alg := range []string{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"} {
		all[alg] = signingKey{alg, rsaKey, &rsaKey.PublicKey}
	}
	for alg, curve := range map[string]elliptic.Curve{"ES256": elliptic.P256(), "ES384": elliptic.P384(), "ES512": elliptic.P521()} {
		k, err := ecdsa.GenerateKey(curve, rand.Reader)
		if err != nil {
			panic(err)
		}
		all[alg] = signingKey{alg, k, &k.PublicKey}
	}
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		panic(err)
	}
	all["EdDSA"] = signingKey{"EdDSA", private, public}
	for alg, n := range map[string]int{"HS256": 32, "HS384": 48, "HS512": 64} {
		secret := []byte(strings.Repeat("s", n))
		all[alg] = signingKey{alg, secret, secret}
	}
	return all
})

func (k signingKey) key(tb testing.TB, kid string) Key {
	tb.Helper()
	key, err := NewKey(KeyConfig{KeyID: kid, Algorithm: k.alg, Material: k.public})
	if err != nil {
		tb.Fatal(err)
	}
	return key
}

// claimsNow returns claims that are accepted, changed by change, of which nil
// values take a claim out.
func claimsNow(change map[string]any) jwt.MapClaims {
	now := time.Now()
	c := jwt.MapClaims{
		"iss": issuer, "aud": audience, "sub": "alice", "jti": "t-1",
		"iat": now.Unix(), "nbf": now.Unix(), "exp": now.Add(time.Hour).Unix(),
	}
	maps.Copy(c, change)
	maps.DeleteFunc(c, func(_ string, v any) bool { return v == nil })
	return c
}

// sign makes a token; header changes its header as change does claims.
func (k signingKey) sign(tb testing.TB, claims jwt.MapClaims, header map[string]any) string {
	tb.Helper()
	token := jwt.NewWithClaims(jwt.GetSigningMethod(k.alg), claims)
	maps.Copy(token.Header, header)
	maps.DeleteFunc(token.Header, func(_ string, v any) bool { return v == nil })
	text, err := token.SignedString(k.private)
	if err != nil {
		tb.Fatal(err)
	}
	return text
}

// signRaw signs header and claims as they are written.
func (k signingKey) signRaw(tb testing.TB, header, claims string) string {
	tb.Helper()
	input := base64.RawURLEncoding.EncodeToString([]byte(header)) + "." + base64.RawURLEncoding.EncodeToString([]byte(claims))
	sig, err := jwt.GetSigningMethod(k.alg).Sign(input, k.private)
	if err != nil {
		tb.Fatal(err)
	}
	return input + "." + base64.RawURLEncoding.EncodeToString(sig)
}

func text(tb testing.TB, v any) string {
	tb.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		tb.Fatal(err)
	}
	return string(b)
}

// keySet returns the set of keys that are declared listed, with what is revoked.
func keySet(tb testing.TB, revoked []rotation.ID, keys ...Key) *KeySet {
	tb.Helper()
	return NewKeySet(rotation.Advance(nil, rotation.Content[Key]{Decls: listed(keys), Revoked: revoked}, time.Now(), rotation.Window{}), "keys", nil, nil)
}

func listed(keys []Key) []rotation.Decl[Key] {
	decls := make([]rotation.Decl[Key], 0, len(keys))
	for _, k := range keys {
		decls = append(decls, rotation.Decl[Key]{ID: k.ID(), Slot: rotation.Listed, Value: k})
	}
	return decls
}

// verifier returns one of a single issuer with a fixed set; change may alter its
// configuration.
func verifier(tb testing.TB, set *KeySet, change func(*Config)) *Verifier {
	tb.Helper()
	return verifierOf(tb, fixed(set), 0, change)
}

// fixed returns a function that returns set.
func fixed(set *KeySet) func() *KeySet { return func() *KeySet { return set } }

// verifierOf returns one of a single issuer with keys and a cache of cacheSize.
func verifierOf(tb testing.TB, keys func() *KeySet, cacheSize int, change func(*Config)) *Verifier {
	tb.Helper()
	c := Config{Issuer: issuer, Audiences: []string{audience}}
	if change != nil {
		change(&c)
	}
	iss, err := NewIssuer(keys, c)
	if err != nil {
		tb.Fatal(err)
	}
	return NewVerifier(cacheSize, iss)
}

func verdictOf(v verify.Verifier, token string) error {
	_, err := v.Verify(context.Background(), token)
	return err
}
