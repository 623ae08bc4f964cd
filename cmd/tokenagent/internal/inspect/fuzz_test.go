package inspect_test

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/inspect"
	"github.com/tokenagent/tokenagent/internal/jwt"
	"github.com/tokenagent/tokenagent/internal/rotation"
	"github.com/tokenagent/tokenagent/pkg/verify"
)

// FuzzDecode: the output for any token is printable, and Decode and the verifier agree on
// which tokens are malformed.
func FuzzDecode(f *testing.F) {
	nest := func(n int) string { return `{"a":` + strings.Repeat("[", n) + strings.Repeat("]", n) + `}` }
	accepted := fmt.Sprintf(`{"iss":"us","aud":"app","sub":"alice","exp":%d}`, time.Now().Add(time.Hour).Unix())
	for _, s := range [][2]string{
		{header, claims},
		{header, accepted},
		{header, `{"` + "\u009b31m" + `":"` + "\u202e" + `","a":[{"b":"\u001b"}]}`},
		{header, `{"exp":1e400}`},
		{`{"alg":"ES256","kid":1}`, `{"a":1,"a":2}`},
		{header, "{\"a\":\"\xff\"}"},
		{header, `{"a":"\ud800"}`},
		{header, ` { "a" : 1 } `},
		{header, nest(30)},
		{header, nest(31)},
		{header, nest(32)},
		{header, nest(33)},
		{header, nest(34)},
		{header, `{"a":{},"b":{}}`},
		{header, "{\"\xff\":1,\"\xfe\":2}"},
		{header, `{"\ud800":1,"\udbff":2}`},
	} {
		f.Add(s[0], s[1])
	}
	v := strict(f)
	if _, err := v.Verify(f.Context(), signed(accepted)); err != nil {
		f.Fatalf("there is nothing that the verifier accepts: %v", err)
	}
	f.Fuzz(func(t *testing.T, header, claims string) {
		// The verifier looks at the claims once the signature is good, so each part
		// is shown to it with the other one good.
		for _, token := range []string{token(header, `{}`), signed(claims)} {
			if len(token) > jwt.MaxBytes {
				continue // refused for its length alone
			}
			got := inspect.Decode(token, now)
			_, err := v.Verify(t.Context(), token)
			formal := err != nil && (strings.Contains(err.Error(), "compact form") || strings.Contains(err.Error(), "occurs twice") || strings.Contains(err.Error(), "its header is longer"))
			if got.Error != "" && !formal {
				t.Fatalf("%s, and the verifier: %v", got.Error, err) // which may have accepted it
			}
			if !got.JWT {
				continue
			}
			warnings := strings.Join(got.Warnings, "\n")
			if got.Error == "" && formal && !strings.Contains(warnings, "alg") && !strings.Contains(warnings, "is not a string") && len(header) < 3<<10 {
				t.Fatalf("nothing is found, and the verifier: %v", err)
			}
		}
		got := inspect.Decode(token(header, claims), now)
		if !got.JWT {
			return
		}
		var b bytes.Buffer
		if err := got.Text(&b, now); err != nil {
			t.Fatal(err)
		}
		for _, r := range b.String() {
			if r != '\n' && !unicode.IsPrint(r) {
				t.Fatalf("%U comes out", r)
			}
		}
		if _, err := json.Marshal(got.Claims); err != nil {
			t.Fatal(err)
		}
	})
}

const secret = "a secret of at least thirty-two bytes"

// signed returns the claims with a good signature for strict.
func signed(claims string) string {
	input := b64(`{"alg":"HS256"}`) + "." + b64(claims)
	sum := hmac.New(sha256.New, []byte(secret))
	sum.Write([]byte(input))
	return input + "." + b64(string(sum.Sum(nil)))
}

// strict returns a verifier with one key, for the issuer "us" and the audience "app".
func strict(tb testing.TB) verify.Verifier {
	tb.Helper()
	key, err := jwt.NewKey(jwt.KeyConfig{Material: []byte(secret)})
	if err != nil {
		tb.Fatal(err)
	}
	decls := []rotation.Decl[jwt.Key]{{ID: key.ID(), Slot: rotation.Current, Value: key}}
	one := jwt.NewKeySet(rotation.Advance(nil, rotation.Content[jwt.Key]{Decls: decls}, time.Now(), rotation.Window{}), "keys", nil, nil)
	iss, err := jwt.NewIssuer(func() *jwt.KeySet { return one }, jwt.Config{Issuer: "us", Audiences: []string{"app"}})
	if err != nil {
		tb.Fatal(err)
	}
	return jwt.NewVerifier(0, iss)
}

// TestMalformedForAll: the verifier refuses what Decode calls malformed.
func TestMalformedForAll(t *testing.T) {
	v := strict(t)
	for _, token := range []string{
		token(header, claims) + "=", b64(header) + "." + b64(claims) + ".eB", b64(header) + "." + b64(claims) + ".", "\n" + token(header, claims),
		b64(header) + ".." + b64("s"), token(header, claims) + ".eA.eA", b64(header) + "." + b64(claims) + ".e\nA", b64(header) + "." + b64(claims) + ".e+A/",
	} {
		if inspect.Decode(token, now).Error == "" {
			t.Errorf("%q is well formed", token)
		}
		if _, err := v.Verify(t.Context(), token); err == nil || !strings.Contains(err.Error(), "compact form") {
			t.Errorf("%q: %v", token, err)
		}
	}
}
