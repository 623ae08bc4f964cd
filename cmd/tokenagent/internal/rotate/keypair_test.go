package rotate_test

import (
	"encoding/base64"
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/rotate/content"
)

// What stage makes is of the current key's algorithm and form, its private half
// stands in the one file that was named, and both belong together.
func TestStageMakesAKeyPair(t *testing.T) {
	for _, alg := range []string{"RS256", "PS256", "ES256", "ES384", "EdDSA"} {
		s := newSigner(t, alg)
		for form, text := range map[string]string{"PEM": s.public, "JWK": s.jwk(t, ""), "named JWK": s.jwk(t, "2031"), "set": `{"keys":[` + s.jwk(t, "2031") + `]}`} {
			name := "key"
			if form == "set" {
				name = "jwks.json"
			}
			flags := []string{}
			if form == "PEM" && alg == "PS256" {
				flags = append(flags, "--key-algorithm=PS256")
			}
			for where, b := range keyBenches(t, name, text) {
				if strings.HasSuffix(alg, "S256") && alg != "ES256" && where != "secret" {
					continue // an RSA key takes long to make
				}
				t.Run(alg+"/"+form+"/"+where, func(t *testing.T) {
					out := filepath.Join(t.TempDir(), "private.pem")
					b.do(t, "stage", append(flags, "--private-out", out, "--dry-run")...).want(t, 0, "a new key, "+alg)
					if _, err := os.Lstat(out); err == nil {
						t.Fatal("a dry run writes a private key")
					}
					o := b.do(t, "stage", append(flags, "--private-out", out)...).want(t, 0, "the private key is in "+out)
					made := readPrivate(t, alg, out)
					c := keyContent(t, b)
					staged := slices.Concat(c.Next, c.Listed)
					got := staged[len(staged)-1]
					if got.ID() != made.key.ID() || got.ID() == s.key.ID() || got.Key().Algorithm() != alg && len(flags) == 0 {
						t.Errorf("%s is staged, and %s made", got, made.key)
					}
					want := map[string]string{"PEM": "", "JWK": "", "named JWK": made.thumb(), "set": made.thumb()}[form]
					if got.Key().KeyID() != want {
						t.Errorf("its name is %q, want %q", got.Key().KeyID(), want)
					}
					pemText, _ := os.ReadFile(out)
					all := o.out + o.errOut + strings.Join(slices.Collect(maps.Values(keys(t, b))), "")
					for line := range strings.Lines(string(pemText)) {
						if strings.Contains(all, strings.TrimSpace(line)) {
							t.Error("a line of the private key is elsewhere")
						}
					}
					before := b.bytes(t)
					code, says := 0, "nothing changed: "
					if form == "set" { // in which nothing is staged
						code, says = 1, "exists and is not overwritten"
					}
					b.do(t, "stage", append(flags, "--private-out", out)...).want(t, code, says)
					if again, _ := os.ReadFile(out); b.bytes(t) != before || string(again) != string(pemText) {
						t.Error("repeated, and something changed")
					}
				})
			}
		}
	}
}

// A secret has the size of its hash and stands in the source alone.
func TestStageMakesASecret(t *testing.T) {
	for alg, size := range map[string]int{"HS256": 32, "HS384": 48, "HS512": 64} {
		s := newSigner(t, alg)
		for form, text := range map[string]string{"text": s.public, "JWK": s.jwk(t, "2031"), "set": `{"keys":[` + s.jwk(t, "2031") + `]}`} {
			name := "key"
			if form == "set" {
				name = "jwks.json"
			}
			for where, b := range keyBenches(t, name, text) {
				t.Run(alg+"/"+form+"/"+where, func(t *testing.T) {
					b.do(t, "stage", "--private-out", filepath.Join(t.TempDir(), "x")).want(t, 2, "--private-out goes with key pairs")
					o := b.do(t, "stage", "--key-algorithm", alg).want(t, 0)
					var c content.Content
					have := keys(t, b)
					text := have["key-next"]
					if form == "set" {
						c = keyContent(t, b)
						if len(c.Listed) != 2 || c.Listed[1].Key().Algorithm() != alg || c.Listed[1].Key().KeyID() == "" {
							t.Fatalf("%v", c.Listed)
						}
						return
					}
					if form == "JWK" {
						var w struct{ Kty, Alg, Kid, K string }
						if err := json.Unmarshal([]byte(text), &w); err != nil {
							t.Fatal(err)
						}
						if w.Kty != "oct" || w.Alg != alg || w.Kid == "" {
							t.Fatalf("kty %q, alg %q, kid %q", w.Kty, w.Alg, w.Kid)
						}
						b, _ := base64.RawURLEncoding.DecodeString(w.K)
						text = string(b)
					}
					raw, err := base64.RawURLEncoding.DecodeString(text)
					if err != nil || len(raw) != size {
						t.Errorf("%d bytes, %v; want %d", len(raw), err, size)
					}
					if text != "" && strings.Contains(o.errOut, text) {
						t.Error("the secret shows")
					}
					b.do(t, "stage").want(t, 0, "is staged already")
				})
			}
		}
	}
}

// Where a private key would go, or none can be made, is not guessed.
func TestPrivateOut(t *testing.T) {
	one, two := newSigner(t, "EdDSA"), newSigner(t, "ES256")
	for name, b := range keyBenches(t, "key", one.public) {
		t.Run(name, func(t *testing.T) {
			before := b.bytes(t)
			b.do(t, "stage").want(t, 2, "name a new one with --private-out FILE, or stage the public key")
			b.do(t, "stage", "--private-out", "x", "--from", from(t, two.public)).want(t, 2, "--from stages an existing key")
			foreign := from(t, "CANARY-1c3a9e-foreign")
			b.do(t, "stage", "--private-out", foreign).want(t, 1, "exists and is not overwritten; name another file")
			if text, _ := os.ReadFile(foreign); string(text) != "CANARY-1c3a9e-foreign" {
				t.Error("it is overwritten")
			}
			link := filepath.Join(t.TempDir(), "link")
			if err := os.Symlink(filepath.Join(t.TempDir(), "elsewhere"), link); err != nil {
				t.Fatal(err)
			}
			b.do(t, "stage", "--private-out", link).want(t, 1, "exists and is not overwritten")
			b.do(t, "stage", "--private-out", filepath.Join(t.TempDir(), "none", "x")).want(t, 1, "--private-out: ")
			if p, ok := b.(path); ok {
				for _, inside := range []string{"private.pem", "key-next"} {
					b.do(t, "stage", "--private-out", filepath.Join(string(p), inside)).want(t, 2, "--private-out must not be in "+string(p))
				}
			}
			if b.bytes(t) != before {
				t.Error("refused, and changed all the same")
			}
		})
	}
	forEachWay(t, func(t *testing.T, b bench) {
		b.do(t, "stage", "--private-out", filepath.Join(t.TempDir(), "x")).want(t, 2, "a token has no private key")
	})
}
