package gateway_test

import (
	"errors"
	"testing"

	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/gateway"
	"github.com/tokenagent/tokenagent/pkg/verify"
)

func TestSubject(t *testing.T) {
	for subject, want := range map[string]string{
		"":                    "",
		"token":               "token",
		"spiffe://td/a/b":     "spiffe://td/a/b",
		"a b":                 "a%20b",
		"100%":                "100%25",
		"x\r\nSet-Cookie: y":  "x%0D%0ASet-Cookie:%20y",
		"\x00\x7f\x80\xff":    "%00%7F%80%FF",
		"é":                   "%C3%A9",
		" \t":                 "%20%09",
		"auth0|0123456789{}~": "auth0|0123456789{}~",
	} {
		if got := gateway.Subject(verify.NewPrincipal(verify.PrincipalConfig{Subject: subject})); got != want {
			t.Errorf("Subject(%q) = %q, want %q", subject, got, want)
		}
	}
	if got := gateway.Subject(nil); got != "" {
		t.Errorf("Subject(nil) = %q", got)
	}
}

func TestP5_DenyAll(t *testing.T) {
	for _, token := range []string{"", "a token"} {
		if p, err := gateway.DenyAll().Verify(t.Context(), token); p != nil || !errors.Is(err, verify.ErrInvalidToken) {
			t.Errorf("%q: %v, %v", token, p, err)
		}
	}
}
