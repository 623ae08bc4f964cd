package report

import (
	"os"
	"path/filepath"
	"testing"
)

func TestReplaceKeepsOtherText(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "page.md")
	if err := os.WriteFile(path, []byte("before\n<!-- bench:results:begin -->\nold\n<!-- bench:results:end -->\nafter\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"new", "newer\n"} {
		if err := Replace(path, "results", text); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(path)
	if want := "before\n<!-- bench:results:begin -->\n\nnewer\n\n<!-- bench:results:end -->\nafter\n"; err != nil || string(got) != want {
		t.Errorf("%q, %v; want %q", got, err, want)
	}
	if err := Replace(path, "machine", "x"); err == nil {
		t.Error("no error for missing markers")
	}
}
