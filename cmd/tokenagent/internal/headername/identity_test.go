package headername

import "testing"

func TestEncodeSubject(t *testing.T) {
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
		if got := EncodeSubject(subject); got != want {
			t.Errorf("EncodeSubject(%q) = %q, want %q", subject, got, want)
		}
	}
}
