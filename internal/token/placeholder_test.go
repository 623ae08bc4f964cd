package token_test

import (
	"strings"
	"testing"

	"github.com/tokenagent/tokenagent/internal/token"
)

// TestP5_PlaceholderIsNoToken puts placeholders into every place where a token is allowed.
func TestP5_PlaceholderIsNoToken(t *testing.T) {
	const good, secret = "gW3m0rSxQ4aNf1lUeZ8tYc7P", "Jd5vKq9TzB2hXo6RiLw0EyCn"
	for text, says := range map[string]string{
		"<path:kv-v2/data/app#token>":      "a placeholder in angle brackets",
		"<path:kv/app#token | base64>":     "a placeholder in angle brackets",
		"${APP_API_TOKEN_OF_ORDERS}":       "a variable",
		"{{.Data.data.token}}":             "a template",
		"{{ .Data.data.token }}":           "a template",
		`"` + secret + `"`:                 "a quoted string",
		`{"token":"` + secret + `"}`:       "JSON",
		`{"token": "` + secret + `"}`:      "JSON",
		"{\n\"token\": \"" + secret + "\"": "JSON",
		"APP_API_TOKEN=" + secret:          "a line NAME=value",
		"export APP_API_TOKEN=" + secret:   "a line NAME=value",
		"vault:secret/data/app#token":      "a URL or a reference",
		"https://vault.example/v1/app":     "a URL or a reference",
	} {
		sources := map[string]func() (token.Tokens, error){
			"the first line": func() (token.Tokens, error) { return token.Parse([]byte(text), token.Options{}) },
			"a later line":   func() (token.Tokens, error) { return token.Parse([]byte(good+"\n"+text), token.Options{}) },
		}
		for _, key := range []string{token.FileCurrent, token.FileNext, token.FilePrevious} {
			sources["key "+key] = func() (token.Tokens, error) {
				keys := map[string][]byte{token.FileCurrent: []byte(good)}
				keys[key] = []byte(text)
				return token.ParseDir(keys, token.Options{})
			}
		}
		for place, parse := range sources {
			got, err := parse()
			if err == nil || !strings.Contains(err.Error(), "it looks like "+says) || got.Decls != nil {
				t.Errorf("%s in %s: %v, want %q", text, place, err, says)
			}
			if err != nil && (strings.Contains(err.Error(), secret) || strings.Contains(err.Error(), "Data")) {
				t.Errorf("%v quotes the content", err)
			}
		}
	}
	for _, text := range []string{"{" + good, good + "==", "MTIz" + good + "=", good + " next"} {
		if _, err := token.Parse([]byte(secret+"\n"+text), token.Options{}); err != nil {
			t.Errorf("%s: %v", text, err)
		}
	}
}
