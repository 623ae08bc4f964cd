package cli

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tokenagent/tokenagent/agent"
)

const (
	issuer   = "https://issuer.example"
	audience = "orders"
	// secret is an HS256 secret of printable ASCII.
	secret = "CANARY-77ab10-secret-of-an-issuer-of-tokens"
)

// A signer has the files of a signing key and of the keys that verify its tokens.
type signer struct{ private, jwks, pem, alg string }

func newSigner(t *testing.T, alg string) signer {
	t.Helper()
	dir := t.TempDir()
	s := signer{filepath.Join(dir, "key.pem"), filepath.Join(dir, "jwks.json"), filepath.Join(dir, "public.pem"), alg}
	invoke(t, "", "generate", "--jwt", alg, "--new-signing-key", s.private, "--public-jwks-out", s.jwks, "--public-key-out", s.pem).want(t, 0)
	return s
}

// sign returns a token that is valid for an hour, unless flags say otherwise.
func (s signer) sign(t *testing.T, flags ...string) string {
	t.Helper()
	o := invoke(t, "", append([]string{"generate", "--jwt", s.alg, "--signing-key", s.private, "--issuer", issuer, "--audience", audience}, flags...)...)
	o.want(t, 0)
	return strings.TrimSpace(o.out)
}

func (s signer) kid(t *testing.T) string {
	t.Helper()
	var set struct{ Keys []struct{ Kid string } }
	text, err := os.ReadFile(s.jwks)
	if err == nil {
		err = json.Unmarshal(text, &set)
	}
	if err != nil {
		t.Fatal(err)
	}
	return set.Keys[0].Kid
}

// by returns the flags that accept tokens signed by keys.
func by(keys string, more ...string) []string {
	return append([]string{"--key-file", keys, "--issuer", issuer, "--audience", audience}, more...)
}

// hmac returns the file of an HMAC secret, and a signer with that secret.
func hmac(t *testing.T) (string, signer) {
	t.Helper()
	path := file(t, secret)
	return path, signer{private: path, alg: "HS256"}
}

// TestKeyUsage checks that errors in flags of keys are usage errors of each command.
func TestKeyUsage(t *testing.T) {
	path := file(t, good)
	for _, command := range []string{"run", "verify", "check", "inspect"} {
		invoke(t, good, append([]string{command}, by(path, "--key-algorithm", "none")...)...).want(t, 2, "--key-algorithm must be one of HS256", "--help'")
		invoke(t, good, command, "--jwks-url", "http://h.example/"+good, "--issuer", "i", "--audience", "a").want(t, 2, "--jwks-url: the URL is not https")
		invoke(t, good, command, "--leeway", "1s").want(t, 2, "--leeway goes with --key-file, --jwks-url, --kubernetes or an https URL as --issuer")
	}
	for _, command := range []string{"run", "verify"} {
		invoke(t, good, command, "--key-file", path, "--audience", "a").want(t, 2, "--issuer is missing")
	}
	invoke(t, "", append([]string{"run", "--token-file", path, "--name", "keys"}, by(path)...)...).want(t, 2, "--name and --key-name are the same")
}

// TestKeyVariables checks that variables for run do not affect a command without a key
// source.
func TestKeyVariables(t *testing.T) {
	s := newSigner(t, "ES256")
	token := s.sign(t)
	for name, value := range map[string]string{
		"ISSUER": issuer, "AUDIENCE": "others," + audience, "MAX_STALE": "1h", "LEEWAY": "1s", "REQUIRE_CLAIM": "jti", "KEY_NAME": "signers",
	} {
		t.Setenv("TOKENAGENT_"+name, value)
	}
	invoke(t, good, "verify", "--token-file", file(t, good)).want(t, 0, "accepted: token")
	invoke(t, token, "verify", "--key-file", s.jwks).want(t, 0, "in source signers")
	invoke(t, token, "verify", "--key-file", s.jwks, "--audience", "others").want(t, 1, "is invalid") // the flag wins
	t.Setenv("TOKENAGENT_KEY_FILE", s.jwks)
	invoke(t, token, "verify").want(t, 0, "accepted")
	invoke(t, good, "generate").want(t, 0)
}

func TestVerifySigned(t *testing.T) {
	for _, alg := range []string{"ES256", "EdDSA", "RS256", "PS256"} {
		s := newSigner(t, alg)
		invoke(t, s.sign(t), append([]string{"verify"}, by(s.jwks)...)...).want(t, 0, "is signed by key "+s.kid(t)+", which is listed in source keys")
		invoke(t, s.sign(t), append([]string{"verify"}, by(s.pem, "--key-algorithm", alg)...)...).want(t, 0, "which is current in source keys")
	}
	s := newSigner(t, "ES256")
	token := s.sign(t, "--claim", `roles=["reader","writer"]`, "--claim", "scope=a b", "--claim", "tier=2")
	for name, c := range map[string]struct {
		token string
		flags []string
		code  int
		want  string
	}{
		"required":              {token, []string{"--require-claim", "roles=admin", "--require-claim", "roles=writer", "--require-claim", "scope=b", "--require-claim", "tier=2", "--require-claim", "jti"}, 0, "accepted"},
		"required, and missing": {token, []string{"--require-claim", "email"}, 1, "is invalid"},
		"required, and other":   {token, []string{"--require-claim", "roles=admin"}, 1, "is invalid"},
		"with an equals sign":   {s.sign(t, "--claim", "q=a=b"), []string{"--require-claim", "q=a=b"}, 0, "accepted"},
		"algorithm":             {token, []string{"--algorithm", "RS256", "--algorithm", "ES256"}, 0, "accepted"},
		"other algorithm":       {token, []string{"--algorithm", "RS256"}, 1, "is invalid"},
		"type":                  {token, []string{"--jwt-type", "at+jwt", "--jwt-type", "jwt"}, 0, "accepted"},
		"other type":            {token, []string{"--jwt-type", "at+jwt"}, 1, "is invalid"},
		"nested":                {s.sign(t, "--claim", `realm_access={"roles":["admin"]}`), []string{"--require-claim", "/realm_access/roles=admin"}, 0, "accepted"},
		"nested, and other":     {s.sign(t, "--claim", `realm_access={"roles":["reader"]}`), []string{"--require-claim", "/realm_access/roles=admin"}, 1, "is invalid"},
		"scp":                   {s.sign(t, "--claim", "scp=a b"), []string{"--require-claim", "scp=b"}, 0, "accepted"},
		"a moment early":        {s.sign(t, "--not-before-in", "20s"), nil, 0, "accepted"},
		"early, no leeway":      {s.sign(t, "--not-before-in", "20s"), []string{"--leeway", "0s"}, 1, "is invalid"},
		"early":                 {s.sign(t, "--not-before-in", "1m"), nil, 1, "is invalid"},
		"early, with leeway":    {s.sign(t, "--not-before-in", "1m"), []string{"--leeway", "10m"}, 0, "accepted"},
		"other audience":        {s.sign(t, "--audience", "two"), []string{"--audience", "three"}, 0, "accepted"}, // orders is among both
		"forged":                {newSigner(t, "ES256").sign(t, "--kid", s.kid(t)), nil, 1, "is invalid; tokenagent inspect says why"},
		"opaque":                {good + "-longer", nil, 1, "is invalid"},
	} {
		t.Run(name, func(t *testing.T) {
			invoke(t, c.token, append([]string{"verify"}, by(s.jwks, c.flags...)...)...).want(t, c.code, c.want)
		})
	}
	path, h := hmac(t)
	o := invoke(t, h.sign(t), append([]string{"verify", "--output", "json"}, by(path)...)...)
	var v map[string]any
	if err := json.Unmarshal([]byte(o.out), &v); err != nil {
		t.Fatal(err)
	}
	for key, want := range map[string]any{"method": "jwt", "slot": "current", "accepted": true} {
		if v[key] != want {
			t.Errorf("%s is %v, want %v", key, v[key], want)
		}
	}
	if id, _ := v["key_id"].(string); len(id) != 8 {
		t.Errorf("key_id is %v, want a fingerprint", v["key_id"])
	}
}

// TestVerifyBoth checks a command with a token source and a key source.
func TestVerifyBoth(t *testing.T) {
	s := newSigner(t, "EdDSA")
	args := append([]string{"verify", "--output", "json", "--token-file", file(t, good)}, by(s.jwks)...)
	invoke(t, good, args...).want(t, 0, `"method": "token"`, `"source": "token"`)
	invoke(t, s.sign(t), args...).want(t, 0, `"method": "jwt"`, `"source": "keys"`)
	invoke(t, bad, args...).want(t, 1, `"reason": "invalid"`)
	t.Setenv("APP_API_TOKEN", good) // not a source beside keys
	invoke(t, good, append([]string{"verify"}, by(s.jwks)...)...).want(t, 1, "is invalid")
}

func TestStatusShowsKeys(t *testing.T) {
	s := agent.Status{Schema: 1, Ready: true, Sources: []agent.SourceStatus{{
		Name: "keys", Kind: "jwks url", Location: "https://issuer.example/jwks", Ready: true, LastReloadGood: true,
		Tokens: []agent.TokenStatus{
			{Slot: "listed", Fingerprint: "aaaaaaaa", KeyID: "2027-a", Algorithm: "ES256"},
			{Slot: "previous", Fingerprint: "bbbbbbbb", KeyID: "\x1b[31m", Algorithm: "RS256", Deadline: time.Now().Add(time.Hour)},
		},
	}}}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _ = json.NewEncoder(w).Encode(s) }))
	defer server.Close()
	o := invoke(t, "", "status", "--agent", server.URL)
	o.want(t, 0, "aaaaaaaa, kid 2027-a, ES256\n", `bbbbbbbb, kid "\u001b[31m", RS256, accepted for another 1h0m0s`)
	if strings.Contains(o.out, "\x1b") {
		t.Error("a kid reaches the terminal unescaped")
	}
}
