package generate_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/spf13/cobra"

	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/exitcode"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/generate"
	"github.com/tokenagent/tokenagent/internal/token"
	"github.com/tokenagent/tokenagent/pkg/verify"
)

// run runs the command as the root command does.
func run(args ...string) (stdout, stderr string, err error) {
	var out, errs bytes.Buffer
	cmd := generate.Command()
	cmd.SilenceErrors, cmd.SilenceUsage = true, true
	cmd.Args = cobra.NoArgs
	cmd.SetArgs(args)
	cmd.SetOut(&out)
	cmd.SetErr(&errs)
	err = cmd.Execute()
	return out.String(), errs.String(), err
}

func must(t *testing.T, args ...string) (stdout, stderr string) {
	t.Helper()
	stdout, stderr, err := run(args...)
	if err != nil {
		t.Fatalf("generate %s: %v", strings.Join(args, " "), err)
	}
	return stdout, stderr
}

func write(t *testing.T, data string, mode os.FileMode) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(path, []byte(data), mode); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestOpaque(t *testing.T) {
	seen := map[string]bool{}
	for args, n := range map[string]int{"": 32, "--bytes=16": 16, "--bytes=64": 64} {
		for range 50 {
			out, errs := must(t, strings.Fields(args)...)
			text, ok := strings.CutSuffix(out, "\n")
			b, err := base64.RawURLEncoding.DecodeString(text)
			if !ok || err != nil || len(b) != n {
				t.Fatalf("%q: %d bytes, %v", args, len(b), err)
			}
			if errs != "" {
				t.Fatalf("%q: stderr %q", args, errs)
			}
			if seen[text] {
				t.Fatal("the same token twice")
			}
			seen[text] = true
			if _, err := token.Parse([]byte(text), token.Options{}); err != nil {
				t.Fatalf("a source would refuse it: %v", err)
			}
		}
	}
}

// A client's token is a line that is appended to a token file.
func TestClient(t *testing.T) {
	line, _ := must(t, "--client", "ci")
	got, err := token.Parse([]byte(line), token.Options{})
	if err != nil || len(got.Decls) != 1 || got.Decls[0].Client != "ci" || line != got.Decls[0].Value.Reveal()+" name=ci\n" {
		t.Errorf("%v, %v", got.Decls, err)
	}
	out, _ := must(t, "--client", "ci", "--output", "json")
	var a map[string]string
	if err := json.Unmarshal([]byte(out), &a); err != nil || a["client"] != "ci" || strings.Contains(a["token"], " ") {
		t.Errorf("%v, %v", a, err)
	}
}

func TestJSON(t *testing.T) {
	for name, args := range map[string][]string{
		"opaque": {"--output", "json"},
		"jwt":    {"--output", "json", "--jwt", "EdDSA", "--new-signing-key", filepath.Join(t.TempDir(), "key")},
	} {
		out, _ := must(t, args...)
		var a map[string]string
		if err := json.Unmarshal([]byte(out), &a); err != nil {
			t.Fatal(err)
		}
		if want := verify.Fingerprint(verify.Digest(a["token"])); a["fingerprint"] != want || a["token"] == "" {
			t.Errorf("%s: %v", name, a)
		}
		expires, err := time.Parse(time.RFC3339, a["expires"])
		if (err == nil) != (name == "jwt") || err == nil && time.Until(expires).Round(time.Minute) != time.Hour {
			t.Errorf("%s: expires %q", name, a["expires"])
		}
	}
}

var algorithms = []string{"HS256", "ES256", "EdDSA", "RS256", "PS256"}

// Every algorithm signs what a verifier accepts that has the public key alone,
// and the key that was made signs again.
func TestJWTVerifies(t *testing.T) {
	for _, alg := range algorithms {
		t.Run(alg, func(t *testing.T) {
			dir := t.TempDir()
			private, public := filepath.Join(dir, "key"), filepath.Join(dir, "public.pem")
			args := []string{"--jwt", alg, "--kid", "k1", "--subject", "orders", "--issuer", "us", "--audience", "a", "--audience", "b", "--expires-in", "5m"}
			if alg != "HS256" {
				args = append(args, "--public-key-out", public)
			}
			first, _ := must(t, append(args, "--new-signing-key", private)...)
			second, errs := must(t, append(args, "--signing-key", private)...)
			if errs != "" {
				t.Errorf("a warning about our own key: %s", errs)
			}
			if info, err := os.Stat(private); err != nil || info.Mode().Perm() != 0o600 {
				t.Errorf("the key's file: %v, %v", info.Mode(), err)
			}
			ids := map[any]bool{}
			for _, out := range []string{first, second} {
				var c jwt.MapClaims
				token, err := jwt.ParseWithClaims(strings.TrimSuffix(out, "\n"), &c, func(*jwt.Token) (any, error) { return verifyKey(t, alg, private, public) },
					jwt.WithValidMethods([]string{alg}), jwt.WithAudience("b"), jwt.WithIssuer("us"), jwt.WithSubject("orders"),
					jwt.WithExpirationRequired(), jwt.WithIssuedAt())
				if err != nil {
					t.Fatal(err)
				}
				if token.Header["kid"] != "k1" || c["exp"].(float64)-c["iat"].(float64) != 300 || c["nbf"] != nil {
					t.Errorf("%v %v", token.Header, c)
				}
				ids[c["jti"]] = true
			}
			if len(ids) != 2 || ids[""] {
				t.Errorf("ids %v", ids)
			}
		})
	}
}

func verifyKey(t *testing.T, alg, private, public string) (any, error) {
	t.Helper()
	if alg == "HS256" {
		return os.ReadFile(private)
	}
	text, err := os.ReadFile(public)
	if err != nil {
		t.Fatal(err)
	}
	switch alg {
	case "ES256":
		return jwt.ParseECPublicKeyFromPEM(text)
	case "EdDSA":
		return jwt.ParseEdPublicKeyFromPEM(text)
	default:
		return jwt.ParseRSAPublicKeyFromPEM(text)
	}
}

func TestClaims(t *testing.T) {
	key := write(t, strings.Repeat("k", 32), 0o600)
	out, _ := must(t, "--jwt", "hs256", "--signing-key", key, "--audience", "one", "--not-before-in", "10m",
		"--claim", "admin=true", "--claim", "n=12345678901234567890", "--claim", `roles=["a","b"]`, "--claim", "none=null",
		"--claim", "text=a=b", "--claim", "zero=007", "--claim", "empty=", "--claim", "two=1 2", "--claim", `quoted="1"`)
	parts := strings.Split(out, ".")
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		t.Fatal(err)
	}
	text := regexp.MustCompile(`"(exp|iat|nbf)":\d+`).ReplaceAllString(string(payload), `"$1":0`)
	text = regexp.MustCompile(`"jti":"[A-Z2-7]{26}"`).ReplaceAllString(text, `"jti":"random"`)
	want := `{"admin":true,"aud":"one","empty":"","exp":0,"iat":0,"jti":"random","n":12345678901234567890,"nbf":0,` +
		`"none":null,"quoted":"1","roles":["a","b"],"text":"a=b","two":"1 2","zero":"007"}`
	if text != want {
		t.Errorf("claims\n%s\nwant\n%s", text, want)
	}
	header, _ := base64.RawURLEncoding.DecodeString(parts[0])
	if string(header) != `{"alg":"HS256","typ":"JWT"}` { // no kid: see thumbprint
		t.Errorf("header %s", header)
	}
	_, err = jwt.Parse(strings.TrimSuffix(out, "\n"), func(*jwt.Token) (any, error) { return []byte(strings.Repeat("k", 32)), nil })
	if !errors.Is(err, jwt.ErrTokenNotValidYet) {
		t.Errorf("good before its time: %v", err)
	}
}

// Nobody reads standard output that cannot be written; the command says so.
func TestFailingOutput(t *testing.T) {
	cmd := generate.Command()
	cmd.SetArgs(nil)
	cmd.SetOut(failing{})
	cmd.SetErr(io.Discard)
	if err := cmd.Execute(); exitcode.Of(err) != 1 {
		t.Errorf("%v", err)
	}
}

type failing struct{}

func (failing) Write([]byte) (int, error) { return 0, io.ErrClosedPipe }

func TestHelp(t *testing.T) {
	out, _ := must(t, "--help")
	for _, flag := range []string{
		"--audience", "--bytes", "--claim NAME=VALUE", "--expires-in", "--issuer", "--jwt ALG", "--kid", "--new-signing-key FILE",
		"--not-before-in", "--output FORM", "--public-jwks-out FILE", "--public-key-out FILE", "--signing-key FILE", "--subject",
	} {
		if !strings.Contains(out, "      "+flag+" ") {
			t.Errorf("--help says nothing of %s", flag)
		}
	}
	if short := regexp.MustCompile(`(?m)^ +-[a-gi-z], `).FindString(out); short != "" {
		t.Errorf("a short flag: %q", short)
	}
}
