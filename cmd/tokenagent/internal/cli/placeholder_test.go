package cli

import (
	"strconv"
	"strings"
	"testing"
)

// TestP5_NoCommandTakesAPlaceholder checks that no command accepts what a templating tool
// left behind.
func TestP5_NoCommandTakesAPlaceholder(t *testing.T) {
	for text, says := range map[string]string{
		"<path:kv-v2/data/CANARY-77ab10#token>":  "looks like a placeholder in angle brackets",
		"${CANARY_77ab10_APP_API_TOKEN}":         "looks like a variable",
		"APP_API_TOKEN=" + good:                  "looks like a line NAME=value",
		`{"token":"` + good + `"}`:               "looks like JSON",
		"vault:secret/data/" + good + "/x#token": "looks like a URL or a reference",
	} {
		path := file(t, text)
		invoke(t, "", "check", "--token-file", path).want(t, 1, "error: ", says)
		invoke(t, "", "run", "--token-file", path, "--listen", "127.0.0.1:0", "--admin-listen", "").want(t, 1, says)
		invoke(t, good, "verify", "--token-file", path).want(t, 1, says)
		invoke(t, "", "check", "--env-file", file(t, "APP_API_TOKEN='"+text+"'")).want(t, 1, "error: ", says)
		t.Setenv("SOME_TOKEN", text)
		invoke(t, "", "check", "--token-env", "SOME_TOKEN").want(t, 1, "error: ", says)
	}
}

// TestGeneratedTokensAreTokens gives what generate prints to check.
func TestGeneratedTokensAreTokens(t *testing.T) {
	var lines strings.Builder
	for i := range 300 {
		o := invoke(t, "", "generate", "--bytes", strconv.Itoa(16+i%48))
		o.want(t, 0)
		lines.WriteString(o.out)
	}
	invoke(t, "", "check", "--token-file", file(t, lines.String())).want(t, 0, "good: ")
}
