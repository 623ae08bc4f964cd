package termsafe_test

import (
	"strings"
	"testing"
	"unicode"

	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/termsafe"
)

func TestText(t *testing.T) {
	for in, want := range map[string]string{
		"":                            "",
		"plain, ünïcode 中文 \ufffd":    "plain, ünïcode 中文 \ufffd",
		"\x1b[2J\x07":                 `\u001b[2J\u0007`,
		"a\r\nb\tc":                   `a\u000d\u000ab\u0009c`,
		"\u009b31m \x7f":              `\u009b31m \u007f`,
		"\u202egpj.exe":               `\u202egpj.exe`,
		"zero\u200bwidth, \U000e0041": `zero\u200bwidth, \udb40\udc41`,
		"\xff\xfe":                    `\ufffd\ufffd`,
	} {
		if got := termsafe.Text(in); got != want || termsafe.Text(got) != got {
			t.Errorf("%q becomes %q, want %q", in, got, want)
		}
	}
	if got := termsafe.Lines("a\n\tb\x1b\r"); got != "a\n\tb\\u001b\\u000d" {
		t.Errorf("lines become %q", got)
	}
	var b strings.Builder
	if termsafe.Fprintf(&b, "%s\t%d %s\n", "x\x1b\n", 5, "y"); b.String() != "x\\u001b\\u000a\t5 y\n" {
		t.Errorf("%q", b.String())
	}
}

func FuzzText(f *testing.F) {
	f.Add("\x1b]0;x\x07\U000e0001\xc3")
	f.Fuzz(func(t *testing.T, s string) {
		if i := strings.IndexFunc(termsafe.Text(s), func(r rune) bool { return !unicode.IsPrint(r) }); i >= 0 {
			t.Errorf("%q keeps what is not to be printed", s)
		}
	})
}
