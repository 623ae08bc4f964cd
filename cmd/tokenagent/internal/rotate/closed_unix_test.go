//go:build unix

package rotate_test

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/exitcode"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/rotate"
)

// A Secret that goes nowhere is not rotated, whatever its report says.
func TestTheSecretMustArrive(t *testing.T) {
	const marker = "TOKENAGENT_TEST_FILTER"
	if os.Getenv(marker) != "" { // the filter itself, in a process of its own
		cmd := rotate.Command()
		cmd.SilenceErrors, cmd.SilenceUsage = true, true
		cmd.SetArgs([]string{"stage"})
		err := cmd.ExecuteContext(t.Context())
		if err != nil {
			_, _ = os.Stderr.WriteString(err.Error() + "\n")
		}
		os.Exit(exitcode.Of(err))
	}
	for to, c := range map[string]struct {
		code int
		says string
	}{
		">&-":        {1, "standard output is closed; nothing was changed"},
		">/dev/full": {1, "writing the Secret to standard output"},
		">/dev/null": {0, "staged"},
	} {
		t.Run(to, func(t *testing.T) {
			if _, err := os.Stat("/dev/full"); err != nil && strings.Contains(to, "full") {
				t.Skip(err)
			}
			var errs bytes.Buffer
			cmd := exec.CommandContext(t.Context(), "/bin/sh", "-c", `"$0" -test.run='^TestTheSecretMustArrive$' `+to, os.Args[0])
			cmd.Env = append(os.Environ(), marker+"=1")
			cmd.Stdin, cmd.Stderr = strings.NewReader(newSecret().text), &errs
			code, exit := 0, (*exec.ExitError)(nil)
			if err := cmd.Run(); errors.As(err, &exit) {
				code = exit.ExitCode()
			} else if err != nil {
				t.Fatal(err)
			}
			if code != c.code || !strings.Contains(errs.String(), c.says) {
				t.Errorf("exit code %d, want %d with %q", code, c.code, c.says)
			}
		})
	}
}
