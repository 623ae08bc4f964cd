package inspect_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/inspect"
	"github.com/tokenagent/tokenagent/pkg/rotation"
	"github.com/tokenagent/tokenagent/pkg/verify"
)

// FuzzDecode: whatever is in a token, nothing but plain text comes out; and what
// is called malformed the verifier refuses for its form, and the other way round.
func FuzzDecode(f *testing.F) {
	nest := func(n int) string { return `{"a":` + strings.Repeat("[", n) + strings.Repeat("]", n) + `}` }
	for _, s := range [][2]string{
		{header, claims},
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
	f.Fuzz(func(t *testing.T, header, claims string) {
		token := token(header, claims)
		got, fault := inspect.Decode(token)
		_, err := v.Verify(t.Context(), token)
		formal := strings.Contains(err.Error(), "compact form") || strings.Contains(err.Error(), "stands twice")
		if fault != nil && !formal {
			t.Fatalf("%v, and the verifier: %v", fault, err)
		}
		if got == nil {
			return
		}
		warnings := strings.Join(got.Warnings(now), "\n")
		if fault == nil && formal && !strings.Contains(warnings, "alg") && !strings.Contains(warnings, "is no text") {
			t.Fatalf("nothing is found, and the verifier: %v", err)
		}
		var b bytes.Buffer
		if err := got.Text(&b, now); err != nil {
			t.Fatal(err)
		}
		b.WriteString(warnings)
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

// strict returns a verifier without keys, which looks at the form first.
func strict(tb testing.TB) verify.Verifier {
	tb.Helper()
	none := verify.NewKeySet(rotation.Advance[verify.Key](nil, nil, nil, time.Now(), rotation.Window{}), "keys")
	v, err := verify.NewJWTVerifier(func() *verify.KeySet { return none }, verify.JWTConfig{Issuer: "us", Audiences: []string{"app"}, MaxBytes: 1 << 20})
	if err != nil {
		tb.Fatal(err)
	}
	return v
}

// TestMalformedForAll: what is called malformed the verifier refuses for its form,
// not only what the fuzzer makes.
func TestMalformedForAll(t *testing.T) {
	v := strict(t)
	for _, token := range []string{
		token(header, claims) + "=", b64(header) + "." + b64(claims) + ".eB", b64(header) + "." + b64(claims) + ".", "\n" + token(header, claims),
		b64(header) + ".." + b64("s"), token(header, claims) + ".eA.eA", b64(header) + "." + b64(claims) + ".e\nA", b64(header) + "." + b64(claims) + ".e+A/",
	} {
		if _, err := inspect.Decode(token); err == nil {
			t.Errorf("%q is well formed", token)
		}
		if _, err := v.Verify(t.Context(), token); err == nil || !strings.Contains(err.Error(), "compact form") {
			t.Errorf("%q: %v", token, err)
		}
	}
}
