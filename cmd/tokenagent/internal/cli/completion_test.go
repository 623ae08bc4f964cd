package cli

import (
	"bytes"
	"strings"
	"testing"
)

// TestCompletion asks for completions as the script of a shell does.
func TestCompletion(t *testing.T) {
	const files, nothing = ":0", ":4" // cobra's directives
	for line, want := range map[string]string{
		"run --log-level ":          "debug info warn error " + nothing,
		"rotate status --output ":   "text json " + nothing,
		"run --listen ":             nothing,
		"run --token-file ":         files,
		"check --config ":           files,
		"rotate stage ":             files,
		"run ":                      nothing,
		"rotate promote --overlap ": nothing,
	} {
		var out bytes.Buffer
		root := Root()
		root.SetArgs(append([]string{"__complete"}, strings.Split(line, " ")...))
		root.SetOut(&out)
		root.SetErr(&bytes.Buffer{})
		if err := root.Execute(); err != nil {
			t.Errorf("%s: %v", line, err)
		}
		if got := strings.Join(strings.Fields(out.String()), " "); got != want {
			t.Errorf("%s: completions %q, want %q", line, got, want)
		}
	}
}

// TestFirstSteps checks that the command without arguments says what to do first.
func TestFirstSteps(t *testing.T) {
	var out, errors bytes.Buffer
	if code := Main(t.Context(), "", nil, strings.NewReader(""), &out, &errors); code != 2 {
		t.Errorf("exit code %d, want 2", code)
	}
	for _, first := range []string{"tokenagent demo", "tokenagent check --token-file", "tokenagent run --token-file", "tokenagent rotate run --secret"} {
		if !strings.Contains(out.String(), first) {
			t.Errorf("the help does not begin with %q:\n%s", first, out.String())
		}
	}
}
