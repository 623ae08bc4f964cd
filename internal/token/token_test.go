package token

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/tokenagent/tokenagent/internal/rotation"
	"github.com/tokenagent/tokenagent/pkg/verify"
)

// TestP7_NoRenderingShowsAToken formats every type that holds a token in every way.
func TestP7_NoRenderingShowsAToken(t *testing.T) {
	t.Parallel()
	const canary = "CANARY-5b1f2a9e77c04d3c"
	parsed, err := Parse([]byte(canary), Options{})
	if err != nil {
		t.Fatal(err)
	}
	l := rotation.Advance(nil, rotation.Content[Token]{Decls: parsed.Decls}, time.Now(), rotation.Window{})
	s := NewSet(l, SetOptions{Source: "token"})
	token := New(canary)
	hidden := struct{ t Token }{token} // fmt asks no methods of these
	p, _ := s.Verify(t.Context(), canary)
	for name, v := range map[string]any{
		"token": token, "pointer": &token, "hidden": hidden, "hidden pointer": &hidden, "slice": []Token{token},
		"map": map[Token]Token{token: token}, "decls": parsed.Decls, "tokens": parsed, "entry": l.Entries[0], "ledger": l,
		"set": s, "set value": *s, "principal": p,
	} {
		var out bytes.Buffer
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d"} {
			fmt.Fprintf(&out, verb+"\n", v)
		}
		_ = json.NewEncoder(&out).Encode(v)
		slog.New(slog.NewTextHandler(&out, nil)).Info("x", "v", v)
		slog.New(slog.NewJSONHandler(&out, nil)).Info("x", "v", v)
		text := out.String()
		for n := len(canary); n >= 8; n-- {
			for _, form := range []string{canary[:n], fmt.Sprintf("%x", canary[:n]), strings.Trim(fmt.Sprint([]byte(canary[:n])), "[]")} {
				if strings.Contains(text, form) {
					t.Fatalf("%s shows %d bytes of the token:\n%s", name, n, text)
				}
			}
		}
	}
	if got := fmt.Sprint(token); got != "token("+verify.Fingerprint(verify.Digest(canary))+")" {
		t.Errorf("a token renders as %s", got)
	}
	if token.Reveal() != canary || (Token{}).Reveal() != "" {
		t.Error("Reveal does not return the text of New")
	}
}

func TestTokenExpires(t *testing.T) {
	t.Parallel()
	exp := time.Date(2031, 2, 3, 4, 5, 6, 0, time.UTC)
	signed := func(c jwt.Claims) string {
		s, err := jwt.NewWithClaims(jwt.SigningMethodHS256, c).SignedString(bytes.Repeat([]byte("k"), 32))
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	for name, c := range map[string]struct {
		token string
		want  time.Time
	}{
		"with exp":      {signed(jwt.MapClaims{"exp": exp.Unix(), "sub": "x"}), exp},
		"without":       {signed(jwt.MapClaims{"sub": "x"}), time.Time{}},
		"opaque":        {tokenA, time.Time{}},
		"dots, no JWT":  {"aaaaaaaa.bbbbbbbb.cccccccc", time.Time{}},
		"exp is a word": {signed(jwt.MapClaims{"exp": "soon"}), time.Time{}},
		"huge":          {strings.Repeat("a", maxJWT) + "..", time.Time{}},
	} {
		if got := New(c.token).Expires(); !got.Equal(c.want) {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
}

func TestDigestOfAnyLength(t *testing.T) {
	t.Parallel()
	for _, n := range []int{0, 1, 511, 512, 513, 1024, 1025, 4096, 100_000} {
		text := strings.Repeat("ab", n)[:n]
		if verify.Digest(text) != sha256.Sum256([]byte(text)) {
			t.Errorf("%d bytes: not their SHA-256", n)
		}
	}
}
