package jwt

import (
	"errors"
	"testing"

	"github.com/tokenagent/tokenagent/pkg/verify"
)

// TestIssuersThatAreLearned: while the names of an issuer are unknown, a token that may be its
// own is unavailable and not invalid. A token with another name makes the issuer ask for its
// new names.
func TestIssuersThatAreLearned(t *testing.T) {
	t.Parallel()
	a, keyA, _ := secretKey(t, "k1", secretA)
	b, keyB, _ := secretKey(t, "k1", secretB)
	var names []string
	asked := 0
	learn := func(c *Config) {
		c.Issuer, c.Issuers, c.OnUnknownKey = "", func() []string { return names }, func() { asked++ }
	}
	v := twoIssuers(t, keySet(t, nil, keyA), keySet(t, nil, keyB), func(own, _ *Config) { learn(own) })
	kid := map[string]any{"kid": "k1"}
	ofA, ofB := a.sign(t, claimsNow(nil), kid), b.sign(t, claimsNow(map[string]any{"iss": otherIssuer}), kid)
	nameless := a.sign(t, claimsNow(map[string]any{"iss": nil}), kid)
	verdicts := func(when string, v verify.Verifier, want map[string]error) {
		t.Helper()
		for token, want := range want {
			if err := verdictOf(v, token); !errors.Is(err, want) {
				t.Errorf("%s: %v, want %v", when, err, want)
			}
		}
	}
	verdicts("no name", v, map[string]error{ofA: verify.ErrUnavailable, ofB: nil, nameless: verify.ErrInvalidToken})
	names = []string{"https://old.example"}
	asked = 0
	verdicts("another name", v, map[string]error{ofA: verify.ErrInvalidToken, ofB: nil, nameless: verify.ErrInvalidToken})
	if asked != 1 {
		t.Errorf("asked %d times for the new name, want 1", asked)
	}
	names = []string{issuer, "https://old.example"}
	verdicts("its name", v, map[string]error{ofA: nil, ofB: nil})

	// The same without another issuer.
	alone := verifier(t, keySet(t, nil, keyA), learn)
	names, asked = nil, 0
	verdicts("alone, no name", alone, map[string]error{ofA: verify.ErrUnavailable, nameless: verify.ErrInvalidToken})
	names = []string{"https://old.example"}
	verdicts("alone, another name", alone, map[string]error{ofA: verify.ErrInvalidToken})
	if asked != 2 {
		t.Errorf("alone: asked %d times for the new name, want 2", asked)
	}
}
