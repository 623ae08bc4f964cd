package model

import (
	"os"
	"strings"
	"testing"

	"github.com/tokenagent/tokenagent/pkg/verify"
)

// goldens returns the timelines of README.md by heading. A timeline is the first
// code block below a third-level heading.
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

// finds fails the test unless some but not all histories went wrong, the simplest
// bad history violates kind, and its timeline equals want. If the wrong answer is
// a refusal, it must be of class.
func (f found) finds(t *testing.T, kind kind, class verify.RefusalClass, want string) {
	t.Helper()
	if f.least == nil {
		t.Fatalf("none of %d histories goes wrong", f.histories)
	}
	v := f.least.violation
	if v.kind != kind || !v.got.ok() && v.got.class != class {
		t.Errorf("%s; want kind %q, and a refusal to be %q", v, kind, class)
	}
	if f.bad == f.histories {
		t.Errorf("all %d histories go wrong, so the order is not the only cause", f.bad)
	}
	if got := f.least.world.timeline(v); strings.TrimSpace(got) != want {
		t.Errorf("%d of %d histories go wrong; the simplest is\n%swant\n%s", f.bad, f.histories, got, want)
	}
}
