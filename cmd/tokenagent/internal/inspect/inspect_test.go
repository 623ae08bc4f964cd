package inspect_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/inspect"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var now = time.Date(2027, 3, 1, 12, 0, 0, 0, time.UTC)

const (
	header    = `{"alg":"ES256","kid":"k1"}`
	claims    = `{"iss":"us","aud":"app","sub":"alice","iat":1803902100,"exp":1803903300}` // 5m ago, in 15m
	signature = "CANARY-signature"
)

func b64(text string) string { return base64.RawURLEncoding.EncodeToString([]byte(text)) }

func token(header, claims string) string {
	return b64(header) + "." + b64(claims) + "." + b64(signature)
}

func TestDecode(t *testing.T) {
	for name, c := range map[string]struct{ token, wrong string }{
		"good":                   {token(header, claims), ""},
		"empty objects":          {token(`{}`, `{}`), ""},
		"unsecured":              {b64(`{"alg":"none"}`) + "." + b64(claims) + ".", ""},
		"a large number":         {token(header, `{"n":1e300}`), ""},
		"too large a number":     {token(header, `{"n":[1e999]}`), "a number is too large"},
		"opaque":                 {"CANARY-0123456789", "not a JSON Web Token"},
		"opaque with dots":       {"CANARY.0123.456789", "not a JSON Web Token"},
		"text with dots":         {b64("CANARY") + "." + b64("x") + ".eA", "not a JSON Web Token"},
		"a list":                 {token(`["CANARY"]`, claims), "not a JSON Web Token"},
		"null":                   {token(`null`, claims), "not a JSON Web Token"},
		"more behind the header": {token(header+"{}", claims), "not a JSON Web Token"},
		"padded header":          {b64(header) + "==." + b64(claims) + ".eA", "not a JSON Web Token"},
		"cut header":             {token(`{"alg":"ES256"`, claims), "not a JSON Web Token"},
		"two parts":              {b64(header) + "." + b64(claims), "not a JSON Web Token"},
		"four parts":             {token(header, claims) + ".eA", "not a JSON Web Token"},
		"encrypted":              {token(header, claims) + ".eA.eA", "an encrypted token"},
		"with its scheme":        {"Bearer " + token(header, claims), "without the word Bearer"},
		"on two lines":           {b64(header) + ".\n" + b64(claims) + ".eA", "white space"},
		"no claims":              {b64(header) + ".." + b64("s"), "in its claims there is no JSON object"},
		"claims are a list":      {token(header, "[1]"), "in its claims there is no JSON object"},
		"padded":                 {b64(header) + "." + base64.URLEncoding.EncodeToString([]byte(`{"a":1}`)) + ".eA", "its claims are not base64url without padding"},
		"other base64":           {b64(header) + "." + b64(claims) + ".+/+/", "its signature is not base64url"},
		"loose bits":             {b64(header) + "." + b64(claims) + ".eB", "its signature is not base64url"},
		"unsigned":               {b64(header) + "." + b64(claims) + ".", "it has no signature"},
		"twice in the header":    {token(`{"alg":"ES256","alg":"none"}`, claims), "in its header a member occurs twice"},
		"twice in the claims":    {token(header, `{"a":{"b":1,"b":2}}`), "in its claims a member occurs twice"},
		"twice, escaped":         {token(header, `{"sub":"a","\u0073ub":"b"}`), "in its claims a member occurs twice"},
		"deep":                   {token(header, `{"a":`+strings.Repeat("[", 40)+strings.Repeat("]", 40)+`}`), "more than 32 deep"},
	} {
		t.Run(name, func(t *testing.T) {
			got := inspect.Decode(c.token, now)
			isJWT := !strings.Contains(c.wrong, "not a JSON Web Token") && !strings.Contains(c.wrong, "encrypted") && !strings.Contains(c.wrong, "white") && !strings.Contains(c.wrong, "Bearer")
			if got.JWT != isJWT || got.Bytes != len(c.token) || got.Fingerprint == "" {
				t.Errorf("%+v", got)
			}
			if !strings.Contains(got.Error, c.wrong) || (got.Error == "") != (c.wrong == "") {
				t.Errorf("%q, want %q", got.Error, c.wrong)
			}
			if strings.Contains(got.Error, "CANARY") {
				t.Errorf("the error quotes: %s", got.Error)
			}
			if !isJWT && (got.Header != nil || got.Claims != nil || got.Digest != "") {
				t.Errorf("it shows of what is no JSON Web Token: %+v", got)
			}
		})
	}
}

func TestText(t *testing.T) {
	long := `{"iss":"us","aud":["a","b"],"sub":"x","nbf":1803903000,"iat":1803902400,"exp":1803989100,"n":12345678901234567890}`
	for name, c := range map[string]struct {
		claims string
		want   []string
	}{
		"times":   {claims, []string{`alg  "ES256"`, `kid  "k1"`, "fingerprint ", "(2027-03-01T12:15:00Z, in 15m)", "(2027-03-01T11:55:00Z, 5m ago)", "to revoke it: its digest "}},
		"later":   {long, []string{"not valid for another 10m", "0s ago", "in 24h5m", "12345678901234567890", `["a","b"]`}},
		"expired": {`{"exp":1803902220,"jti":"1"}`, []string{"(2027-03-01T11:57:00Z, expired 3m ago)", "its jti, or its digest"}},
		"days":    {`{"exp":1806494400}`, []string{"in 30 days"}},
		"no time": {`{"exp":"1803902220"}`, []string{`exp  "1803902220"` + "\n"}},
	} {
		got := inspect.Decode(token(header, c.claims), now)
		var b bytes.Buffer
		if err := got.Text(&b, now); err != nil {
			t.Fatal(err)
		}
		for _, want := range c.want {
			if !strings.Contains(b.String(), want) {
				t.Errorf("%s: %q is not in\n%s", name, want, b.String())
			}
		}
		if strings.Contains(b.String(), b64(signature)) || strings.Contains(b.String(), signature) || strings.Contains(b.String(), b64(header)) {
			t.Errorf("%s: it shows the token or its signature:\n%s", name, b.String())
		}
	}
}

func TestWarnings(t *testing.T) {
	const rest = `"iss":"us","aud":"app","sub":"alice"`
	for name, c := range map[string]struct{ header, claims, want string }{
		"nothing":        {header, claims, ""},
		"no exp":         {header, `{` + rest + `}`, "no exp: the token would be valid for ever"},
		"exp is text":    {header, `{` + rest + `,"exp":"1803903300"}`, "exp is not a time"},
		"exp is null":    {header, `{` + rest + `,"exp":null}`, "exp is not a time"},
		"exp too late":   {header, `{` + rest + `,"exp":1e18}`, "exp is not a time"},
		"long":           {header, `{` + rest + `,"iat":1803902400,"exp":1806494400}`, "it is valid for 30 days"},
		"long, no iat":   {header, `{` + rest + `,"exp":1806494400}`, "it is valid for 30 days"},
		"never good":     {header, `{` + rest + `,"nbf":1803903300,"exp":1803903300}`, "nbf is not before exp"},
		"iat to come":    {header, `{` + rest + `,"iat":1803902401,"exp":1803903300}`, "iat is in the future: the token is not refused for that"},
		"iat is text":    {header, `{` + rest + `,"iat":"1803902401","exp":1803903300}`, "iat is not a number; such tokens are refused"},
		"iat in ms":      {header, `{` + rest + `,"iat":1803902401000,"exp":1803903300}`, ""},
		"sub a number":   {header, `{"iss":"us","aud":"app","sub":7,"exp":1803903300}`, ""},
		"no iss":         {header, `{"aud":"app","sub":"a","exp":1803903300}`, "iss is missing or not a string"},
		"aud of numbers": {header, `{"iss":"us","aud":[1],"sub":"a","exp":1803903300}`, "aud is missing or not a string"},
		"no sub":         {header, `{"iss":"us","aud":"app","exp":1803903300}`, "no sub: its user"},
		"empty sub":      {header, `{"iss":"us","aud":"app","sub":"","exp":1803903300}`, "no sub: its user"},
		"sub is none":    {header, `{"iss":"us","aud":"app","sub":7.5,"exp":1803903300}`, "sub is neither a string nor a whole number; such tokens are refused"},
		"jti is none":    {header, `{` + rest + `,"jti":7,"exp":1803903300}`, "jti is not a string; such tokens are refused"},
		"typ is none":    {`{"alg":"ES256","typ":1}`, claims, "typ is not a string; such tokens are refused"},
		"none":           {`{"alg":"none"}`, claims, "alg is none: the token is not signed"},
		"None":           {`{"alg":"nOnE"}`, claims, "alg is none: the token is not signed"},
		"no alg":         {`{}`, claims, "alg is missing or not a string"},
		"other alg":      {`{"alg":"RS1"}`, claims, `alg is "RS1", which is none of HS256`},
		"crit":           {`{"alg":"ES256","crit":["b64"]}`, claims, "the header has crit"},
		"jwk":            {`{"alg":"ES256","jwk":{}}`, claims, "the header has jwk"},
		"jku":            {`{"alg":"ES256","jku":"https://x"}`, claims, "the header has jku"},
		"kid":            {`{"alg":"ES256","kid":["k1"]}`, claims, "kid is not a string"},
		"large":          {header, `{` + rest + `,"exp":1803903300,"x":"` + strings.Repeat("x", 7000) + `"}`, "many servers refuse headers"},
		"too large":      {header, `{` + rest + `,"exp":1803903300,"x":"` + strings.Repeat("x", 13000) + `"}`, "more than 16384 are refused"},
	} {
		w := inspect.Decode(token(c.header, c.claims), now).Warnings
		if c.want == "" && len(w) > 0 || c.want != "" && (len(w) != 1 || !strings.Contains(w[0], c.want)) {
			t.Errorf("%s: %q, want %q", name, w, c.want)
		}
	}
}

func TestQuote(t *testing.T) {
	for in, want := range map[string]string{
		"plain é 漢": `"plain é 漢"`, "a\"b\\c\n": `"a\"b\\c\n"`, "\u202e\u009b": `"\u202e\u009b"`, "": `""`,
	} {
		got := inspect.Quote(in)
		if got != want {
			t.Errorf("%q: %s, want %s", in, got, want)
		}
		var back string
		if err := json.Unmarshal([]byte(got), &back); err != nil || back != in {
			t.Errorf("%q: back %q, %v", in, back, err)
		}
	}
}
