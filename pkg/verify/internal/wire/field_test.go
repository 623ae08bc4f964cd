package wire_test

import (
	"reflect"
	"strings"
	"testing"

	"github.com/tokenagent/tokenagent/pkg/verify"
	"github.com/tokenagent/tokenagent/pkg/verify/internal/wire"
)

func TestParseFields(t *testing.T) {
	dapr, authorization := wire.Field{Name: "dapr-api-token"}, wire.Field{Name: "authorization", Bearer: true}
	for name, c := range map[string]struct {
		names []string
		want  []wire.Field
	}{
		"nil is the default":     {nil, []wire.Field{dapr, authorization}},
		"none is the default":    {[]string{}, []wire.Field{dapr, authorization}},
		"order is kept":          {[]string{"Authorization", "Dapr-Api-Token"}, []wire.Field{authorization, dapr}},
		"any case is lower-case": {[]string{"X-API-key"}, []wire.Field{{Name: "x-api-key"}}},
		"odd but legal":          {[]string{"x_key!"}, []wire.Field{{Name: "x_key!"}}},
	} {
		got, err := wire.ParseFields(c.names)
		if err != nil || !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: ParseFields(%q) = %v, %v; want %v", name, c.names, got, err, c.want)
		}
	}
}

func TestParseFieldsRefuses(t *testing.T) {
	for _, name := range []string{
		"", " ", "a b", "x:", ":authority", "dapr-api-token: the-canary-token", "x\r\ny", "é", "a(b)", "x/y", `"x"`, "a\x00", "x\x7f",
		"Host", "content-length", "Transfer-Encoding", "Connection", "Content-Type", "TE", "Trailer", "Upgrade",
	} {
		_, err := wire.ParseFields([]string{"ok", name})
		if err == nil || !strings.Contains(err.Error(), "Headers[1]") {
			t.Errorf("ParseFields accepts %q, or does not say which it refuses: %v", name, err)
		} else if strings.Contains(err.Error(), "canary") {
			t.Errorf("the error quotes the entry: %v", err)
		}
	}
	if _, err := wire.ParseFields([]string{"X-Key", "x-key"}); err == nil {
		t.Error("ParseFields accepts one field listed twice")
	}
}

func TestFieldToken(t *testing.T) {
	bare, bearer := wire.Field{Name: "x"}, wire.Field{Name: "authorization", Bearer: true}
	for name, c := range map[string]struct {
		field  wire.Field
		values []string
		token  string
	}{
		"no values":               {bare, []string{}, verify.Malformed}, // callers ask only for fields that are present
		"empty":                   {bare, []string{""}, ""},
		"bare":                    {bare, []string{"t"}, "t"},
		"bare is taken as it is":  {bare, []string{" Bearer t "}, " Bearer t "},
		"twice":                   {bare, []string{"t", "t"}, verify.Malformed},
		"twice, one empty":        {bare, []string{"", "t"}, verify.Malformed},
		"three times":             {bare, []string{"t", "t", "t"}, verify.Malformed},
		"bearer":                  {bearer, []string{"Bearer t"}, "t"},
		"another scheme":          {bearer, []string{"Basic dDp0"}, ""},
		"authorization empty":     {bearer, []string{""}, ""},
		"bearer twice":            {bearer, []string{"Bearer t", "Bearer t"}, verify.Malformed},
		"bearer and basic, twice": {bearer, []string{"Basic dDp0", "Bearer t"}, verify.Malformed},
	} {
		if token := c.field.Token(c.values); token != c.token {
			t.Errorf("%s: Token(%q) = %q; want %q", name, c.values, token, c.token)
		}
	}
}

// bearer returns the token of an Authorization value.
func bearer(value string) string {
	f := wire.Field{Name: "authorization", Bearer: true}
	return f.Token([]string{value})
}

func TestBearer(t *testing.T) {
	for value, want := range map[string]string{
		"Bearer t":       "t",
		"bearer t":       "t",
		"BEARER t":       "t",
		"bEaReR t":       "t",
		"Bearer   t  ":   "t",
		"Bearer a b":     "a b", // not a token: the verifier refuses it
		"Bearer Bearer":  "Bearer",
		"":               "",
		"Bearer":         "",
		"Bearer ":        "",
		"Bearer    ":     "",
		"Bearert":        "",
		"Bearer\tt":      "",
		" Bearer t":      "",
		"Basic dDp0":     "",
		"Bearer, t":      "",
		"Token t":        "",
		"t":              "",
		"Bea\u0280er t":  "",
		"Bearer:t":       "",
		"X-Bearer t":     "",
		"BearerBearer t": "",
	} {
		if got := bearer(value); got != want {
			t.Errorf("Bearer(%q) = %q, want %q", value, got, want)
		}
	}
}

// FuzzBearer: Token returns a token only if the value consists of the scheme, a space
// and that whole token.
func FuzzBearer(f *testing.F) {
	for _, s := range []string{"", "Bearer t", "bearer  t ", "Basic x", "Bearer", "Bearer ", "Bearer\tt", "Bearer a b", "\u0042earer t"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, value string) {
		token := bearer(value)
		if token == "" {
			// The converse: a well-formed value has a token.
			if wire.IsToken(value) && bearer("Bearer "+value) != value {
				t.Fatalf("a well-formed value is refused: %q", value)
			}
			return
		}
		scheme, rest, ok := strings.Cut(value, " ")
		if !ok || strings.ToLower(scheme) != "bearer" || len(scheme) != len("bearer") {
			t.Fatalf("Bearer(%q) = %q: wrong scheme", value, token)
		}
		if strings.Trim(rest, " ") != token || bearer("Bearer "+token) != token {
			t.Fatalf("Bearer(%q) = %q: not the whole token", value, token)
		}
	})
}

func TestGRPCReserves(t *testing.T) {
	for key, want := range map[string]bool{
		"grpc-timeout": true, "GRPC-X": true, "token-bin": true, "Token-BIN": true,
		"dapr-api-token": false, "x-grpc-y": false, "bin": false, "x-bin-y": false, "": false,
	} {
		if got := wire.GRPCReserves(key); got != want {
			t.Errorf("GRPCReserves(%q) = %t", key, got)
		}
	}
}
