package content_test

import (
	"strings"
	"testing"

	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/rotate/content"
)

func TestForeign(t *testing.T) {
	for text, says := range map[string]string{
		"APP_API_TOKEN=" + a:                     "looks like an env file",
		"# ours\n\n  export APP_API_TOKEN='" + a: "looks like an env file",
		"\ufeffAPP_API_TOKEN=" + a + "==\r\n":    "looks like an env file",
		"_x1 = " + a:                             "looks like an env file",
		"app.api-token =" + a:                    "looks like an env file",
		`{"token":"` + a + `"}`:                  "looks like JSON",
		"\n {\n":                                 "looks like JSON",
		"{}":                                     "looks like JSON",
		"{" + a + "}":                            "", // no JSON begins like this
		"---\nkind: Secret":                      "looks like YAML",
		"apiVersion: v1":                         "looks like YAML",
		"-----BEGIN PRIVATE KEY-----":            "looks like YAML, PEM or a binary file",
		"\x7fELF\x02\x00\x00" + a:                "looks like YAML, PEM or a binary file",
		a:                                        "",
		a + "=":                                  "",
		a + "==\n":                               "",
		a + "= next\n" + b:                       "",
		"1" + a + "=" + b:                        "", // no name begins with a digit
		a + "+/=" + b:                            "", // nor has such in it
		"# A=" + a + "\n" + b:                    "",
		"short":                                  "",
		"":                                       "",
		"revoked " + hexA:                        "",
		a + ":":                                  "",
	} {
		err := content.Foreign([]byte(text))
		if says == "" && err != nil || says != "" && (err == nil || !strings.Contains(err.Error(), says)) {
			t.Errorf("%q: %v, want %q", text, err, says)
		}
		if err != nil && strings.Contains(err.Error(), a) {
			t.Errorf("%v quotes the content", err)
		}
	}
}
