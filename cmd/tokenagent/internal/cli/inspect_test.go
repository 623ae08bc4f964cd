package cli

import (
	"encoding/base64"
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

func inspectBy(keys string, more ...string) []string {
	return append([]string{"inspect"}, by(keys, more...)...)
}

// TestInspect checks the answer about tokens without a key source.
func TestInspect(t *testing.T) {
	s := newSigner(t, "ES256")
	o := invoke(t, s.sign(t, "--subject", "alice", "--expires-in", "12m30s"), "inspect")
	o.want(t, 0, `alg  "ES256"`, s.kid(t), `"alice"`, ", in 12m", "s ago)", "to revoke it: its jti, or its digest ", "well formed; nothing was verified")
	if strings.Contains(o.out, "warning") {
		t.Errorf("a warning about a usual token:\n%s", o.out)
	}
	invoke(t, s.sign(t, "--expires-in", "240h"), "inspect").want(t, 0, "warning: it is valid for 10 days")
	unsigned, err := jwt.New(jwt.SigningMethodNone).SignedString(jwt.UnsafeAllowNoneSignatureType)
	if err != nil {
		t.Fatal(err)
	}
	invoke(t, unsigned, "inspect").want(t, 0, "warning: alg is none", "warning: no exp")
	invoke(t, good, "inspect").want(t, 1, "no signed token: fingerprint ", "not a JSON Web Token")
	invoke(t, "Bearer "+s.sign(t), "inspect").want(t, 1, "no signed token", "without the word Bearer")
	invoke(t, s.sign(t)+"=", "inspect").want(t, 1, "malformed: its signature")
	parts := strings.Split(s.sign(t), ".")
	o = invoke(t, parts[0]+"."+parts[1]+"=."+parts[2], "inspect")
	o.want(t, 1, "malformed: its claims are not base64url")
	if strings.Contains(o.out, "warning") {
		t.Errorf("a warning about claims that cannot be read:\n%s", o.out)
	}
	invoke(t, "", "inspect").want(t, 2, "standard input is empty")
	o = invoke(t, good, "inspect", "--output", "json")
	o.want(t, 1, `"jwt": false`)
	if strings.Contains(o.out, "claims") {
		t.Errorf("claims of a token that has none: %s", o.out)
	}
	old, err := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims{"exp": time.Now().Add(-3 * time.Minute).Unix()}).SignedString([]byte(secret))
	if err != nil {
		t.Fatal(err)
	}
	invoke(t, old, "inspect").want(t, 0, ", expired 3m", " ago)")
}

// TestInspectSaysWhy a token is refused, and how to fix it.
func TestInspectSaysWhy(t *testing.T) {
	s, other := newSigner(t, "ES256"), newSigner(t, "ES256")
	rs := newSigner(t, "RS256")
	path, h := hmac(t)
	now := time.Now().Unix()
	made := func(claims jwt.MapClaims, header map[string]any) string {
		t.Helper()
		j := jwt.NewWithClaims(jwt.SigningMethodHS256, claims)
		maps.Copy(j.Header, header)
		text, err := j.SignedString([]byte(secret))
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	full := func(more jwt.MapClaims) jwt.MapClaims {
		c := jwt.MapClaims{"iss": issuer, "aud": audience, "sub": "a", "iat": now, "exp": now + 60}
		maps.Copy(c, more)
		return c
	}
	for name, c := range map[string]struct {
		token string
		args  []string
		want  []string
	}{
		"unknown kid":     {other.sign(t), inspectBy(s.jwks), []string{"refused (invalid): no key has the name", "kid: the token has \"" + other.kid(t) + "\", and there are \"" + s.kid(t) + "\" (ES256)"}},
		"no key for it":   {s.sign(t, "--no-kid"), inspectBy(rs.pem), []string{"refused (invalid): it names no key", `alg: the token has "ES256", and no key is for it; there are one without a kid (RS256)`}},
		"other algorithm": {rs.sign(t, "--kid", s.kid(t)), inspectBy(s.jwks), []string{"is for another algorithm", `alg: the token has "RS256", and the key of its kid is for another`}},
		"forged":          {other.sign(t, "--kid", s.kid(t)), inspectBy(s.jwks), []string{"no accepted key has made its signature", "its signer has another key, or the token was changed"}},
		"other secret":    {h.sign(t), inspectBy(file(t, secret+"2")), []string{"no accepted key has made its signature", "its signer has another secret"}},
		"wrong issuer":    {s.sign(t), []string{"inspect", "--key-file", s.jwks, "--issuer", "https://other.example"}, []string{"its iss is not the accepted issuer", `iss: "https://other.example" is asked for, and the token has "` + issuer + `"`, "aud was not checked"}},
		"wrong audience":  {s.sign(t), []string{"inspect", "--key-file", s.jwks, "--audience", "x", "--audience", "y"}, []string{`aud: "x" or "y" is asked for, and the token has "orders"`, "iss was not checked"}},
		"two at once":     {s.sign(t, "--not-before-in", "5m30s"), []string{"inspect", "--key-file", s.jwks, "--audience", "x"}, []string{`aud: "x" is asked for`, "nbf: it is not valid for another 5m"}},
		"no issuer":       {made(jwt.MapClaims{"exp": now + 60}, nil), []string{"inspect", "--key-file", path}, []string{"iss: one is asked for, and the token has no iss", "aud: one is asked for"}},
		"algorithms":      {s.sign(t), inspectBy(s.jwks, "--algorithm", "EdDSA"), []string{"its algorithm is none that is accepted", `alg: "EdDSA" is asked for, and the token has "ES256"`}},
		"type":            {s.sign(t), inspectBy(s.jwks, "--jwt-type", "at+jwt"), []string{`typ: "at+jwt" is asked for, and the token has "JWT"`}},
		"no claim":        {s.sign(t), inspectBy(s.jwks, "--require-claim", "email"), []string{"a required claim is missing", "email: one is asked for, and the token has no email"}},
		"other claim":     {s.sign(t, "--claim", "tier=2"), inspectBy(s.jwks, "--require-claim", "tier=1", "--require-claim", "tier=3"), []string{`tier: "1" or "3" is asked for, and the token has 2`}},
		"expired":         {made(full(jwt.MapClaims{"exp": now - 180}), nil), inspectBy(path), []string{"refused (expired): its exp has come", "exp: it expired 3m", "get a new token; if the clocks differ by more than --leeway"}},
		"within leeway":   {made(full(jwt.MapClaims{"exp": now - 180}), nil), []string{"inspect", "--key-file", path, "--audience", "x", "--leeway", "10m"}, []string{`aud: "x" is asked for`}},
		"long expired":    {made(full(jwt.MapClaims{"exp": now - 7200}), nil), inspectBy(path), []string{"exp: it expired 2h", "get a new token\n"}},
		"no role":         {s.sign(t), inspectBy(s.jwks, "--require-claim", "/realm_access/roles=admin"), []string{"a required claim is missing", `/realm_access/roles: "admin" is asked for, and the token has no /realm_access/roles`}},
		"other role":      {s.sign(t, "--claim", `realm_access={"roles":["user"]}`), inspectBy(s.jwks, "--require-claim", "/realm_access/roles=admin"), []string{`/realm_access/roles: "admin" is asked for, and the token has ["user"]`}},
		"role of a list":  {made(full(jwt.MapClaims{"roles": []string{"a", "b"}}), nil), inspectBy(path, "--require-claim", "/roles/1=a", "--require-claim", "/roles/0=a"), []string{`/roles/1: "a" is asked for, and the token has "b"`}},
		"one of the two":  {made(full(jwt.MapClaims{"tier": 2, "scp": "a b"}), nil), inspectBy(path, "--require-claim", "tier=2", "--require-claim", "scp=c"), []string{`scp: "c" is asked for, and the token has "a b"`}},
		"just expired":    {made(full(jwt.MapClaims{"exp": now - 20}), nil), inspectBy(path, "--leeway", "0s"), []string{"refused (expired): its exp has come", "exp: it expired 2", "differ by more than --leeway"}},
		"no exp":          {made(jwt.MapClaims{"iss": issuer, "aud": audience}, nil), inspectBy(path), []string{"it has no exp", "warning: no exp"}},
		"crit":            {made(full(nil), map[string]any{"crit": []string{"b64"}}), inspectBy(path), []string{"its header has crit", "warning: the header has crit"}},
		"trust domain":    {s.sign(t, "--subject", "spiffe://b.example/x"), []string{"inspect", "--key-file", s.jwks, "--audience", audience, "--trust-domain", "a.example"}, []string{"its sub is a SPIFFE ID of a trust domain that its signer", `sub: "spiffe://a.example/..." is asked for, and the token has "spiffe://b.example/x"`}},
		"no SPIFFE ID":    {s.sign(t, "--subject", "alice"), inspectBy(s.jwks, "--trust-domain", "a.example"), []string{"its sub is not the SPIFFE ID of a workload", `sub: "spiffe://a.example/..." is asked for, and the token has "alice"`}},
		"SVID type":       {made(full(jwt.MapClaims{"sub": "spiffe://a.example/x"}), map[string]any{"typ": "at+jwt"}), inspectBy(s.jwks, "--trust-domain", "a.example"), []string{`typ: "JWT" or "JOSE" is asked for`, `alg: "RS256" or "RS384"`, `is asked for, and the token has "HS256"`}},
		"none":            {strings.TrimRight(base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none"}`)), "=") + "." + strings.Split(s.sign(t), ".")[1] + ".", inspectBy(s.jwks), []string{"refused (invalid)", "warning: alg is none"}},
	} {
		t.Run(name, func(t *testing.T) {
			o := invoke(t, c.token, c.args...)
			o.want(t, 1, c.want...)
			for _, claim := range []string{"iss", "aud", "sub", "exp", "nbf", "iat", "kid", "alg", "typ", "tier", "/roles/0"} { // no hint about a claim that is right
				says := func(text string) bool { return strings.HasPrefix(text, claim+": ") }
				if strings.Contains(o.out, "\n  "+claim+": ") && !slices.ContainsFunc(c.want, says) {
					t.Errorf("a hint about %s, which is right:\n%s", claim, o.out)
				}
			}
			if parts := strings.Split(c.token, "."); strings.Contains(o.out, parts[0]) || strings.Contains(o.out, parts[1]) || parts[2] != "" && strings.Contains(o.out, parts[2]) {
				t.Errorf("the answer shows a part of the token:\n%s", o.out)
			}
			o = invoke(t, c.token, append(c.args, "--output", "json")...)
			o.want(t, 1)
			var answer struct{ Verdict judgement }
			if err := json.Unmarshal([]byte(o.out), &answer); err != nil {
				t.Fatal(err)
			}
			if answer.Verdict.Accepted || answer.Verdict.Why == "" {
				t.Errorf("%s", o.out)
			}
		})
	}
}

func TestInspectAccepts(t *testing.T) {
	s := newSigner(t, "EdDSA")
	token := s.sign(t, "--subject", "a b")
	invoke(t, token, inspectBy(s.jwks)...).want(t, 0, "accepted: signed by key "+s.kid(t)+", which is listed in source keys; its subject is \"a b\"\n")
	svid := newSigner(t, "ES256")
	o := invoke(t, svid.sign(t, "--subject", "spiffe://a.example/x"), "inspect", "--key-file", svid.jwks, "--audience", audience, "--trust-domain", "a.example")
	o.want(t, 0, "accepted", "its subject is spiffe://a.example/x\n")
	if strings.Contains(o.out, "was not checked") {
		t.Errorf("iss matters, though the trust domain takes its place:\n%s", o.out)
	}
	o = invoke(t, token, "inspect", "--key-file", s.jwks)
	o.want(t, 0, "accepted", "iss was not checked; give --issuer to check it", "aud was not checked")
	o = invoke(t, token, inspectBy(s.jwks, "--output", "json")...)
	o.want(t, 0, `"accepted": true`, `"subject": "a b"`, `"times": {`)
	if strings.Contains(o.out, "unchecked") {
		t.Errorf("%s", o.out)
	}
}

// TestInspectSaysRevoked revokes a token by each value that inspect shows for it.
func TestInspectSaysRevoked(t *testing.T) {
	s := newSigner(t, "ES256")
	token := s.sign(t)
	public, err := os.ReadFile(s.pem)
	if err != nil {
		t.Fatal(err)
	}
	var said struct {
		Digest string
		Claims struct{ Jti string }
	}
	if err := json.Unmarshal([]byte(invoke(t, token, "inspect", "--output", "json").out), &said); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for _, line := range []string{"", "jti " + said.Claims.Jti, said.Digest, "kid " + s.kid(t), "jti other"} {
		for name, text := range map[string][]byte{"key": public, "revoked": []byte(line)} {
			if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		code, want := 1, "refused (revoked): "
		if line == "" || line == "jti other" {
			code, want = 0, "accepted"
		}
		invoke(t, token, inspectBy(dir)...).want(t, code, want)
	}
}

// TestInspectEscapes checks that hostile claims cannot control the terminal.
func TestInspectEscapes(t *testing.T) {
	hostile := "\x1b]0;owned\a\u009b31m\u202e\r\n"
	token, err := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims{"iss": hostile, "aud": hostile, "sub": hostile, hostile: map[string]any{hostile: hostile}, "exp": time.Now().Add(time.Minute).Unix()}).SignedString([]byte(secret))
	if err != nil {
		t.Fatal(err)
	}
	path, _ := hmac(t)
	for _, args := range [][]string{{"inspect"}, {"inspect", "--key-file", path}, inspectBy(path), {"verify", "--key-file", path, "--issuer", "x", "--audience", "y"}} {
		for _, form := range []string{"text", "json"} {
			o := invoke(t, token, append(args, "--output", form)...)
			if args[0] == "inspect" {
				o.want(t, o.code, `\u009b31m\u202e`)
			}
			if i := strings.IndexAny(o.out+o.errOut, "\x1b\a\r\u009b\u202e"); i >= 0 {
				t.Errorf("%v: raw at %d in %q", args, i, o.out)
			}
		}
	}
}
