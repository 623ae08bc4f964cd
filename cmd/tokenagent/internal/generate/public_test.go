package generate_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tokenagent/tokenagent/internal/jwt"
	"github.com/tokenagent/tokenagent/internal/jwt/jwks"
	"github.com/tokenagent/tokenagent/internal/rotation"
	"github.com/tokenagent/tokenagent/pkg/verify"
)

// What --public-jwks-out writes is a key source that accepts the token beside it,
// and the two name the key alike: by its thumbprint, or as --kid says.
func TestJWKSMatchesTheToken(t *testing.T) {
	for _, alg := range algorithms[1:] {
		for name, c := range map[string]struct {
			args []string
			kid  any // nil for the thumbprint
		}{
			"by itself": {nil, nil}, "named": {[]string{"--kid", "k1"}, "k1"}, "nameless": {[]string{"--no-kid"}, ""},
		} {
			t.Run(alg+" "+name, func(t *testing.T) {
				dir := t.TempDir()
				private, public := filepath.Join(dir, "key"), filepath.Join(dir, "jwks.json")
				args := append([]string{"--jwt", alg, "--public-jwks-out", public, "--issuer", "us", "--audience", "a", "--subject", "orders"}, c.args...)
				first, _ := must(t, append(args, "--new-signing-key", private)...)
				second, _ := must(t, append(args, "--signing-key", private)...) // and the same JWKS is left alone
				keys := parse(t, public)
				if len(keys.Decls) != 1 || keys.Decls[0].Value.Algorithm() != alg {
					t.Fatalf("%v", keys.Decls)
				}
				k := keys.Decls[0].Value
				want := c.kid
				if want == nil {
					id := k.ID()
					want = base64.RawURLEncoding.EncodeToString(id[:])
				}
				if k.KeyID() != want {
					t.Errorf("kid %q in the JWKS, want %q", k.KeyID(), want)
				}
				for _, token := range []string{first, second} {
					if kid := header(t, token)["kid"]; kid != want && (kid != nil || want != "") {
						t.Errorf("kid %v in the token, want %q", kid, want)
					}
					if p, err := verifier(t, keys).Verify(context.Background(), strings.TrimSuffix(token, "\n")); err != nil || p.Subject() != "orders" {
						t.Errorf("%v, %v", p, err)
					}
				}
				other, _ := must(t, append(args[:2:2], "--new-signing-key", filepath.Join(dir, "other"), "--issuer", "us", "--audience", "a", "--kid", k.KeyID())...)
				if _, err := verifier(t, keys).Verify(context.Background(), strings.TrimSuffix(other, "\n")); !errors.Is(err, verify.ErrInvalidToken) {
					t.Errorf("of another key: %v", err)
				}
			})
		}
	}
}

// The private members stay where they are.
func TestJWKSIsPublic(t *testing.T) {
	for _, alg := range algorithms[1:] {
		dir := t.TempDir()
		private, public := filepath.Join(dir, "key"), filepath.Join(dir, "jwks.json")
		must(t, "--jwt", alg, "--new-signing-key", private, "--public-jwks-out", public)
		text, err := os.ReadFile(public)
		if err != nil {
			t.Fatal(err)
		}
		var set struct{ Keys []map[string]any }
		if err := json.Unmarshal(text, &set); err != nil || len(set.Keys) != 1 || set.Keys[0]["use"] != "sig" {
			t.Errorf("%s: %v %v", alg, set, err)
		}
		for _, member := range []string{"d", "p", "q", "dp", "dq", "qi", "oth", "k"} {
			if _, there := set.Keys[0][member]; there {
				t.Errorf("%s: the JWKS has %s", alg, member)
			}
		}
	}
}

func parse(t *testing.T, path string) jwks.Keys {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	keys, err := jwks.Parse(text, jwks.ParseOptions{})
	if err != nil {
		t.Fatalf("a source would refuse it: %v", err)
	}
	return keys
}

func verifier(t *testing.T, keys jwks.Keys) verify.Verifier {
	t.Helper()
	ledger := rotation.Advance(nil, rotation.Content[jwt.Key]{Decls: keys.Decls}, time.Now(), rotation.Window{})
	set := jwt.NewKeySet(ledger, "keys", nil, nil)
	iss, err := jwt.NewIssuer(func() *jwt.KeySet { return set }, jwt.Config{Issuer: "us", Audiences: []string{"a"}})
	if err != nil {
		t.Fatal(err)
	}
	return jwt.NewVerifier(0, iss)
}

func header(t *testing.T, token string) (h map[string]any) {
	t.Helper()
	first, _, _ := strings.Cut(token, ".")
	text, err := base64.RawURLEncoding.DecodeString(first)
	if err == nil {
		err = json.Unmarshal(text, &h)
	}
	if err != nil {
		t.Fatal(err)
	}
	return h
}
