package wire_test

import (
	"reflect"
	"strings"
	"testing"

	"github.com/tokenagent/tokenagent/pkg/verify"
	"github.com/tokenagent/tokenagent/pkg/verify/internal/wire"
)

func TestFields(t *testing.T) {
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
		got, err := wire.Fields(c.names)
		if err != nil || !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: Fields(%q) = %v, %v; want %v", name, c.names, got, err, c.want)
		}
	}
}

func TestFieldsRefusesWhatIsNoFieldName(t *testing.T) {
	for _, name := range []string{
		"", " ", "a b", "x:", ":authority", "dapr-api-token: the-canary-token", "x\r\ny", "é", "a(b)", "x/y", `"x"`, "a\x00", "x\x7f",
		"Host", "content-length", "Transfer-Encoding", "Connection", "Content-Type", "TE", "Trailer", "Upgrade",
	} {
		_, err := wire.Fields([]string{"ok", name})
		if err == nil || !strings.Contains(err.Error(), "Headers[1]") {
			t.Errorf("Fields accepts %q, or does not say which it refuses: %v", name, err)
		} else if strings.Contains(err.Error(), "canary") {
			t.Errorf("the error quotes the entry: %v", err)
		}
	}
	if _, err := wire.Fields([]string{"X-Key", "x-key"}); err == nil {
		t.Error("Fields accepts one field listed twice")
	}
}

func TestOutgoingField(t *testing.T) {
	for name, want := range map[string]wire.Field{
		"":              {Name: "dapr-api-token"},
		"X-API-Key":     {Name: "x-api-key"},
		"AUTHORIZATION": {Name: "authorization", Bearer: true},
	} {
		f, err := wire.OutgoingField(name)
		if err != nil || f != want {
			t.Errorf("OutgoingField(%q) = %v, %v; want %v", name, f, err, want)
		}
		// What one side writes is what the other reads.
		if got := f.Token([]string{f.Value("t")}); got != "t" {
			t.Errorf("OutgoingField(%q) carries %q as %q", name, "t", got)
		}
	}
	for _, name := range []string{" ", "dapr-api-token: the-canary-token", "Host", "x\r\ny"} {
		if _, err := wire.OutgoingField(name); err == nil || !strings.HasPrefix(err.Error(), "Header ") || strings.Contains(err.Error(), "canary") {
			t.Errorf("OutgoingField(%q): %v", name, err)
		}
	}
}

func TestFieldToken(t *testing.T) {
	bare, bearer := wire.Field{Name: "x"}, wire.Field{Name: "authorization", Bearer: true}
	for name, c := range map[string]struct {
		field  wire.Field
		values []string
		token  string
	}{
		"absent":                  {bare, nil, ""},
		"no values":               {bare, []string{}, ""},
		"empty":                   {bare, []string{""}, ""},
		"bare":                    {bare, []string{"t"}, "t"},
		"bare is taken as it is":  {bare, []string{" Bearer t "}, " Bearer t "},
		"twice":                   {bare, []string{"t", "t"}, verify.Malformed},
		"twice, one empty":        {bare, []string{"", "t"}, verify.Malformed},
		"three times":             {bare, []string{"t", "t", "t"}, verify.Malformed},
		"bearer absent":           {bearer, nil, ""},
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
		if got := wire.Bearer(value); got != want {
			t.Errorf("Bearer(%q) = %q, want %q", value, got, want)
		}
	}
}

// FuzzBearer: a token comes out only of a value that is the scheme, a blank
// and that token, and it comes out whole.
func FuzzBearer(f *testing.F) {
	for _, s := range []string{"", "Bearer t", "bearer  t ", "Basic x", "Bearer", "Bearer ", "Bearer\tt", "Bearer a b", "\u0042earer t"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, value string) {
		token := wire.Bearer(value)
		if token == "" {
			// The converse, for values that are plainly well-formed.
			if wire.IsToken(value) && wire.Bearer("Bearer "+value) != value {
				t.Fatalf("a well-formed value is refused: %q", value)
			}
			return
		}
		scheme, rest, ok := strings.Cut(value, " ")
		if !ok || strings.ToLower(scheme) != "bearer" || len(scheme) != len("bearer") {
			t.Fatalf("Bearer(%q) = %q: wrong scheme", value, token)
		}
		if strings.Trim(rest, " ") != token || wire.Bearer("Bearer "+token) != token {
			t.Fatalf("Bearer(%q) = %q: not the whole token", value, token)
		}
	})
}
