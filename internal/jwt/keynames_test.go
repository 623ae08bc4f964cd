package jwt

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"testing"
	"time"

	"github.com/tokenagent/tokenagent/internal/rotation"
)

// TestKeyGoesByAllItsNames: issuers publish one key under several kids and algorithms.
// Each published pair is accepted, and no other.
func TestKeyGoesByAllItsNames(t *testing.T) {
	t.Parallel()
	by := signingKeys()
	joined := by["RS256"].key(t, "a").Also(by["RS384"].key(t, "a")).Also(by["PS256"].key(t, "b"))
	set := keySet(t, nil, joined)
	v := verifier(t, set, nil)
	tokens := make(map[string]string)
	for _, c := range []struct {
		alg, kid string
		want     error
	}{
		{"RS256", "a", nil},
		{"RS384", "a", nil},
		{"PS256", "b", nil},
		{"RS256", "", nil},
		{"PS256", "", nil},
		{"PS256", "a", errOtherAlgorithm},
		{"RS256", "b", errOtherAlgorithm},
		{"RS512", "a", errOtherAlgorithm},
		{"RS256", "c", errUnknownKey},
		{"RS512", "", errNoKeyOfAlgorithm},
	} {
		header := map[string]any{"kid": c.kid}
		if c.kid == "" {
			header = nil
		}
		token := by[c.alg].sign(t, claimsNow(nil), header)
		tokens[c.alg+c.kid] = token
		for range 2 { // the second time it may be cached
			if err := verdictOf(v, token); !errors.Is(err, c.want) {
				t.Errorf("%s under kid %q: %v, want %v", c.alg, c.kid, err, c.want)
			}
		}
	}
	if len(set.byID) != 1 || set.Untried() != 0 {
		t.Errorf("%d keys, %d untried", len(set.byID), set.Untried())
	}

	// The thumbprint revokes the key under all of its names.
	set = keySet(t, []rotation.ID{joined.ID()}, joined)
	v.issuers[0].keys = func() *KeySet { return set }
	for name, token := range tokens {
		if err := verdictOf(v, token); err == nil {
			t.Errorf("%s is accepted though its key is revoked", name)
		}
	}
}

// TestNameIsWithdrawn: a cached token is refused when its key loses the kid that the token
// names, although the key itself stays.
func TestNameIsWithdrawn(t *testing.T) {
	t.Parallel()
	k := signingKeys()["ES256"]
	set := keySet(t, nil, k.key(t, "a").Also(k.key(t, "b")))
	v := verifier(t, nil, nil)
	v.issuers[0].keys = func() *KeySet { return set }
	token := k.sign(t, claimsNow(nil), map[string]any{"kid": "b"})
	if err := verdictOf(v, token); err != nil {
		t.Fatal(err)
	}
	set = keySet(t, nil, k.key(t, "a"))
	if err := verdictOf(v, token); !errors.Is(err, errUnknownKey) {
		t.Errorf("%v, want %v", err, errUnknownKey)
	}
}

// TestRefusalKnowsAllNames: a token of a revoked key is refused as revoked, whichever kid
// of the key it names.
func TestRefusalKnowsAllNames(t *testing.T) {
	t.Parallel()
	k := signingKeys()["ES256"]
	joined := k.key(t, "a").Also(k.key(t, "b"))
	before := rotation.Advance(nil, rotation.Content[Key]{Decls: listed([]Key{joined})}, time.Now(), rotation.Window{})
	after := rotation.Advance(before, rotation.Content[Key]{Decls: listed([]Key{joined}), Revoked: []rotation.ID{joined.ID()}}, time.Now(), rotation.Window{})
	v := verifier(t, NewKeySet(after, "keys", NewKeySet(before, "keys", nil, nil), listed([]Key{joined})), nil)
	for _, kid := range []string{"a", "b"} {
		if err := verdictOf(v, k.sign(t, claimsNow(nil), map[string]any{"kid": kid})); !errors.Is(err, errRevokedKey) {
			t.Errorf("kid %s: %v, want %v", kid, err, errRevokedKey)
		}
	}
}

func TestKeyAlsoRefusesAnotherKey(t *testing.T) {
	t.Parallel()
	defer func() {
		if recover() == nil {
			t.Error("two keys became one")
		}
	}()
	signingKeys()["ES256"].key(t, "a").Also(signingKeys()["ES384"].key(t, "a"))
}

// TestEd25519IsEdDSA: RFC 9864 gives EdDSA with Ed25519 a name of its own, and
// keys, tokens and configurations may use either.
func TestEd25519IsEdDSA(t *testing.T) {
	t.Parallel()
	signer := signingKeys()["EdDSA"]
	const old, fresh = "EdDSA", "Ed25519"
	for _, keyAlg := range []string{"", old, fresh} {
		key, err := NewKey(KeyConfig{Algorithm: keyAlg, Material: signer.public})
		if err != nil {
			t.Fatal(err)
		}
		if key.ID() != signer.key(t, "").ID() || key.Algorithm() != old {
			t.Errorf("a key of %q is %s", keyAlg, key)
		}
		for _, tokenAlg := range []string{old, fresh} {
			token := signer.signRaw(t, `{"alg":"`+tokenAlg+`"}`, text(t, claimsNow(nil)))
			for _, accepted := range []string{"", old, fresh} {
				v := verifier(t, keySet(t, nil, key), func(c *Config) {
					if accepted != "" {
						c.Algorithms = []string{accepted}
					}
				})
				if err := verdictOf(v, token); err != nil {
					t.Errorf("key %q, token %s, accepted %q: %v", keyAlg, tokenAlg, accepted, err)
				}
			}
			v := verifier(t, keySet(t, nil, key), func(c *Config) { c.Algorithms = []string{"ES256"} })
			if err := verdictOf(v, token); !errors.Is(err, errAlgorithm) {
				t.Errorf("token %s: %v", tokenAlg, err)
			}
		}
	}
	if _, err := NewKey(KeyConfig{Algorithm: fresh, Material: signingKeys()["ES256"].public}); err == nil {
		t.Error("an EC key is one of Ed25519")
	}
}

// TestNamesTakeNoTries: a key with many kids is tried once on a token without a kid, so
// that other keys are tried, too.
func TestNamesTakeNoTries(t *testing.T) {
	t.Parallel()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	many, other := signingKeys()["ES256"], signingKey{"ES256", private, &private.PublicKey}
	key := many.key(t, "0")
	for _, kid := range []string{"", "1", "2", "3", "4", "5", "6", "7", "8"} {
		key = key.Also(many.key(t, kid))
	}
	set := keySet(t, nil, key, other.key(t, "other"))
	if err := verdictOf(verifier(t, set, nil), other.sign(t, claimsNow(nil), nil)); err != nil || set.Untried() != 0 {
		t.Errorf("%v, %d untried", err, set.Untried())
	}
	for _, kid := range []string{"3", "none"} {
		if keys, err := set.candidates(&jws{alg: "ES256", kid: kid, named: true}, time.Now()); err != nil || len(keys) != 1 {
			t.Errorf("kid %s: %d keys to try, %v", kid, len(keys), err)
		}
	}
}
