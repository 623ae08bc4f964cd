package model

import (
	"os"
	"strings"
	"testing"

	"github.com/tokenagent/tokenagent/pkg/verify"
)

// goldens returns the timelines of README.md by their headings: each is the
// first block of code below a heading of the third level.
func goldens(t *testing.T) map[string]string {
	t.Helper()
	text, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	out := make(map[string]string)
	for part := range strings.SplitSeq(string(text), "\n### ") {
		name, rest, _ := strings.Cut(part, "\n")
		if _, rest, ok := strings.Cut(rest, "```text\n"); ok && !strings.HasPrefix(part, "#") {
			block, _, _ := strings.Cut(rest, "```")
			out[name] = strings.TrimSpace(block)
		}
	}
	return out
}

// finds fails the test unless the exploration found what was expected: a
// violation of a kind, in some histories and not in all, of which the plainest
// reads as want. class is that of the refusal, where one was wrong.
func (f found) finds(t *testing.T, kind kind, class verify.RefusalClass, want string) {
	t.Helper()
	if f.least == nil {
		t.Fatalf("nothing goes wrong in %d histories", f.histories)
	}
	v := f.least.violation
	if v.kind != kind || !v.got.ok() && v.got.class != class {
		t.Errorf("%s; want %s, or an answer %s", v, kind, class)
	}
	if f.bad == f.histories {
		t.Errorf("all %d histories go wrong, so it is more than the order", f.bad)
	}
	if got := f.least.world.timeline(v); strings.TrimSpace(got) != want {
		t.Errorf("%d of %d histories go wrong, the plainest:\n%swant:\n%s", f.bad, f.histories, got, want)
	}
}
