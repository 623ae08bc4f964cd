package placeholder_test

import (
	"encoding/base32"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/quick"

	"github.com/tokenagent/tokenagent/internal/placeholder"
)

const secret = "gW3m0rSxQ4aNf1lUeZ8tYc7P"

func TestDescribe(t *testing.T) {
	for want, texts := range map[string][]string{
		"angle brackets": {
			"<path:kv-v2/data/app#token>", "<POSTGRES_PASSWORD>", "<your-token-here>", "<path:kv/data/app#token | base64encode>", "<%= token %>", "<>",
			"prefix-<path:secret/data/app#token>", "xx<YOUR-TOKEN-HERE>", "Bearer <your token here>",
		},
		"a variable": {
			"${APP_API_TOKEN}", "${file:/etc/token}", "${{ secrets.TOKEN }}", "$(APP_API_TOKEN)", "$APP_API_TOKEN", "%APP_API_TOKEN%", "__APP_API_TOKEN__",
			"@APP_API_TOKEN@", "@@APP_API_TOKEN@@", "prod-${TOKEN}-1", "prod-$(TOKEN)", "${APP_API_TOKEN:-default}",
			"pre${TOKEN:=default}x", "abc${TOKEN?missing}", "%%APP_API_TOKEN%%", "{APP_API_TOKEN_VALUE}", "#{APP_API_TOKEN}#",
		},
		"a template":         {"{{.Data.data.token}}", "{{ .Values.token | b64enc }}", "((app-api-token))", "[[ .Data.token ]]", "prod-{{ env }}-token", "{{token}}:x"},
		"a quoted string":    {`"` + secret + `"`, "'" + secret + "'", "`" + secret + "`", `"` + secret + `",`, `"a b"`, `"token":"` + secret + `"`},
		"JSON":               {`{"token":"` + secret + `"}`, `{"token": "` + secret + `"}`, `{"token":`, "{", "[", "[{", "{}", "[]", `["` + secret + `"]`, `[{"a":1}]`, "[1,2]"},
		"PEM":                {"-----BEGIN PRIVATE KEY-----", "-----BEGIN"},
		"an encrypted value": {"ENC[AES256_GCM,data:" + secret + ",iv:x,tag:y,type:str]"},
		"NAME=value": {
			"APP_API_TOKEN=" + secret, "token=" + secret, "export APP_API_TOKEN=" + secret, "APP_API_TOKEN = " + secret, "app.api-token=" + secret, "appApiToken=" + secret,
			"AppApiToken=" + secret, "APP_API_TOKEN='" + secret + "'", "TOKEN2=" + secret + "==", "_TOKEN=" + secret,
			"App-Api-Token=" + secret, "X-Api-Key=" + secret, "Token-Value=" + secret, "API-TOKEN=" + secret, "db.password=" + secret, "key=" + secret, "KEY=" + secret, "SetTokenHere=" + secret, "client_secret = " + secret,
		},
		"a URL": {
			"https://vault.example/v1/secret", "op://vault/item/field", "vault:secret/data/app#token", "vault://secret/app", "ref+vault://secret/app#token", "ref+awssecrets://app",
			"arn:aws:secretsmanager:eu-west-1:123456789012:secret:app", "jdbc:postgresql://db/app", "file:/run/secrets/token", "env:APP_API_TOKEN", "VAULT:secret/app#x",
			"@Microsoft.KeyVault(SecretUri=https://x.vault.azure.net/secrets/t)", "$ANSIBLE_VAULT;1.1;AES256",
		},
	} {
		for _, text := range texts {
			got := placeholder.Describe(text)
			if !strings.Contains(got, want) {
				t.Errorf("%s: %q, want %q", text, got, want)
			}
			if strings.Contains(got, secret) {
				t.Errorf("%q quotes the secret", got)
			}
		}
	}
}

// Tokens of well-known services, and words that are not documents.
func TestRealTokens(t *testing.T) {
	for _, text := range []string{
		secret, "a", "", "=", "==", "gW3m0rSxQ4aNf1lUeZ8tYc==", "ghp_16C7e42F292c6912E7710c838347Ae178B4a", "github_pat_11ABCDEFG0aBcDeFgHiJkL_mNoPqRsTuVwXyZ",
		"glpat-1234567890abcdefghij", "xoxb-123456789012-1234567890123-abcdefghijklmnopqrstuvwx", "sk_live_4eC39HqLyjWDarjtT1zdp7dc", "AKIAIOSFODNN7EXAMPLE",
		"wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", "hvs.CAESIJ1234567890abcdefghijkl", "s.1234567890abcdefghijklmn", "SG.abcdefghijklmnopqrstuv.wxyz-_0123456789", "dop_v1_0123456789abcdef",
		"123456789:AAF-abcdefghijklmnopqrstuvwxyz012345", "npm_abcdefghijklmnopqrstuvwxyz0123456789", "AGE-SECRET-KEY-1QQPQSJ0000000000000", "v4.public.eyJkYXRhIjoidGhpcyBpcyBhIHNpZ25lZCBtZXNzYWdlIn0",
		"00000000-0000-4000-8000-000000000000", "{" + secret, "[" + secret, "$" + secret, "<" + secret, `"` + secret, secret + "}", "{" + secret + "}", "(" + secret + ")", "user:" + secret,
		"1token=" + secret, secret + "=" + secret, "dXNlcg==:cGFzcw==", "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9P", "eyJhbGciOiJIUzI1NiJ9==.eyJzdWIiOiIxIn0=.dozjgNry",
		"x=" + secret, "__" + secret + "__", "correct-horse-battery-staple", "12345678901234567890", "p%40ss%20word%21",
		"hello=" + secret, "django-insecure-4k2=" + secret, "<" + secret[:6] + ">" + secret, secret + "<a!c%e&g*i(k>", "$(a)" + secret, "{" + strings.ToLower(secret) + "}",
	} {
		if got := placeholder.Describe(text); got != "" {
			t.Errorf("%s is taken for %s", text, got)
		}
	}
}

// Random bytes of every length in every usual encoding are tokens.
func TestEncodedBytesAreTokens(t *testing.T) {
	encodings := map[string]func([]byte) string{
		"base64": base64.StdEncoding.EncodeToString, "raw base64": base64.RawStdEncoding.EncodeToString,
		"base64url": base64.URLEncoding.EncodeToString, "raw base64url": base64.RawURLEncoding.EncodeToString,
		"hex": hex.EncodeToString, "base32": base32.StdEncoding.EncodeToString,
		"uuid": func(b []byte) string {
			b = append(b, make([]byte, 16)...)
			return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:16])
		},
		"jwt": func(b []byte) string {
			e := base64.RawURLEncoding.EncodeToString
			return e([]byte(`{"alg":"HS256"}`)) + "." + e(b) + "." + e(b)
		},
		"prefixed": func(b []byte) string { return "ghp_" + base64.RawURLEncoding.EncodeToString(b) },
	}
	for name, encode := range encodings {
		if err := quick.Check(func(b []byte) bool { return placeholder.Describe(encode(b)) == "" }, &quick.Config{MaxCount: 5000}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Few random strings of all printable ASCII, and few keys that Django generates, are
// refused.
func TestRandomTextIsRarelyRefused(t *testing.T) {
	var ascii []byte
	for c := byte(0x21); c <= 0x7E; c++ {
		ascii = append(ascii, c)
	}
	printable := string(ascii)
	const django = "abcdefghijklmnopqrstuvwxyz0123456789!@#$%^&*(-_=+)"
	for name, c := range map[string]struct {
		prefix, alphabet string
		length           int
		most             int // of 100,000
	}{
		"printable, 24":         {"", printable, 24, 250},
		"printable, 32":         {"", printable, 32, 250},
		"Django":                {"", django, 50, 100},
		"Django's startproject": {"django-insecure-", django, 50, 100},
	} {
		const n = 100_000
		refused := make(map[string]int)
		all := 0
		seed := [32]byte{1}
		random := rand.New(rand.NewChaCha8(seed))
		for range n {
			b := []byte(c.prefix)
			for range c.length {
				b = append(b, c.alphabet[random.IntN(len(c.alphabet))])
			}
			if what := placeholder.Describe(string(b)); what != "" {
				refused[what]++
				all++
			}
		}
		if all > c.most {
			t.Errorf("%s: %d of %d are refused, want at most %d: %v", name, all, n, c.most, refused)
		}
	}
}

func FuzzDescribe(f *testing.F) {
	for _, text := range []string{secret, "<a>", "${A}", `{"a":1}`, "A=b", "https://x"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		_ = placeholder.Describe(text)
		for _, in := range []string{"<%s>", "${%s}", "{{%s}}", `"%s"`, "https://%s"} {
			if text = strings.ReplaceAll(text, "%", ""); placeholder.Describe(strings.Replace(in, "%s", text, 1)) == "" {
				t.Errorf("%q around %q is taken for a token", in, text)
			}
		}
	})
}
