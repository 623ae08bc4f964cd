package jwt

import (
	"crypto/rsa"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// TestSubjectIsTheLiteralNumber: a float64 would round the second.
func TestSubjectIsTheLiteralNumber(t *testing.T) {
	t.Parallel()
	k := signingKeys()["HS256"]
	v := verifier(t, keySet(t, nil, k.key(t, "")), nil)
	for _, sub := range []string{"17", "12345678901234567890", "9007199254740993", "0", "-4"} {
		token := k.signRaw(t, `{"alg":"HS256"}`, strings.Replace(text(t, claimsNow(map[string]any{"sub": nil})), "{", `{"sub":`+sub+`,"SUB":1,`, 1))
		for range 2 { // and from the cache
			if p, err := v.Verify(t.Context(), token); err != nil || p.Subject() != sub {
				t.Errorf("sub %s: %v, %v", sub, p, err)
			}
		}
	}
}

// TestCustomClaimsAreNotDecoded: a token with many claims of its own costs no more
// allocations than one with few.
func TestCustomClaimsAreNotDecoded(t *testing.T) {
	k := signingKeys()["HS256"]
	v := verifierOf(t, fixed(keySet(t, nil, k.key(t, ""))), -1, nil)
	cost := func(change map[string]any) float64 {
		token := k.sign(t, claimsNow(change), nil)
		return testing.AllocsPerRun(20, func() {
			if err := verdictOf(v, token); err != nil {
				t.Fatal(err)
			}
		})
	}
	few := cost(nil)
	many := cost(map[string]any{"a": []string{"x", "y"}, "b": map[string]any{"c": 1, "d": []any{true, nil, "e"}}, "f": 1.5, "g": "h"})
	if many > few {
		t.Errorf("%v allocations, %v without the custom claims", many, few)
	}
}

func TestFutureIssueTimeRefusesNothing(t *testing.T) {
	t.Parallel()
	k := signingKeys()["HS256"]
	v := verifier(t, keySet(t, nil, k.key(t, "")), func(c *Config) { c.Leeway = -1 })
	if err := verdictOf(v, k.sign(t, claimsNow(map[string]any{"iat": time.Now().Add(time.Minute).Unix()}), nil)); err != nil {
		t.Error(err)
	}
}

// TestPSSSaltIsAsLongAsTheHash (RFC 7518 section 3.5): golang-jwt takes any.
func TestPSSSaltIsAsLongAsTheHash(t *testing.T) {
	t.Parallel()
	for alg, method := range map[string]*jwt.SigningMethodRSAPSS{"PS256": jwt.SigningMethodPS256, "PS384": jwt.SigningMethodPS384, "PS512": jwt.SigningMethodPS512} {
		k := signingKeys()[alg]
		v := verifier(t, keySet(t, nil, k.key(t, "")), nil)
		size := method.Hash.Size()
		for salt, want := range map[int]bool{size: true, size - 1: false, size + 1: false, 20: false, rsa.PSSSaltLengthAuto: false} {
			signer := &jwt.SigningMethodRSAPSS{SigningMethodRSA: method.SigningMethodRSA, Options: &rsa.PSSOptions{SaltLength: salt}}
			token := jwt.NewWithClaims(signer, claimsNow(nil))
			text, err := token.SignedString(k.private)
			if err != nil {
				t.Fatal(err)
			}
			if err := verdictOf(v, text); (err == nil) != want {
				t.Errorf("%s with a salt of %d bytes: %v", alg, salt, err)
			}
		}
	}
}

// TestEd25519HasTwoNames: RFC 9864 gave EdDSA with Ed25519 a name of its own.
func TestEd25519HasTwoNames(t *testing.T) {
	t.Parallel()
	signer := signingKeys()["EdDSA"]
	for _, ofKey := range []string{"", "EdDSA", "Ed25519"} {
		key, err := NewKey(KeyConfig{Algorithm: ofKey, Material: signer.public})
		if err != nil {
			t.Fatal(err)
		}
		for _, ofToken := range []string{"EdDSA", "Ed25519"} {
			for _, accepted := range [][]string{nil, {"EdDSA"}, {"Ed25519"}} {
				v := verifier(t, keySet(t, nil, key), func(c *Config) { c.Algorithms = accepted })
				if err := verdictOf(v, signer.sign(t, claimsNow(nil), map[string]any{"alg": ofToken})); err != nil {
					t.Errorf("key %q, token %q, accepted %q: %v", ofKey, ofToken, accepted, err)
				}
			}
		}
		v := verifier(t, keySet(t, nil, key), func(c *Config) { c.Algorithms = []string{"ES256"} })
		if err := verdictOf(v, signer.sign(t, claimsNow(nil), map[string]any{"alg": "Ed25519"})); err == nil {
			t.Error("an algorithm that is not accepted was")
		}
	}
}
