package cli

import (
	"bytes"
	"fmt"
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

func init() { //nolint:gochecknoinits // before TestMain, in the program that exec starts
	if os.Getenv(printDumpable) != "" && os.Getenv(asProgram) == "" {
		fmt.Print(dumpable()) //nolint:forbidigo // the test reads it
		os.Exit(0)
	}
}

// printDumpable makes the test binary print whether it can be dumped.
const printDumpable = "TEST_CLI_PRINT_DUMPABLE"

func dumpable() string {
	n, err := unix.PrctlRetInt(unix.PR_GET_DUMPABLE, 0, 0, 0, 0)
	return fmt.Sprintln(n, err)
}

// TestP7_MemoryIsHidden checks that other processes of the same user cannot read the
// memory of a process that holds tokens.
func TestP7_MemoryIsHidden(t *testing.T) {
	for _, args := range [][]string{{"run", "--token-file", "/nonexistent"}, {"exec", "--token-file", "/nonexistent", "--", "true"}} {
		if err := unix.Prctl(unix.PR_SET_DUMPABLE, 1, 0, 0, 0); err != nil {
			t.Fatal(err)
		}
		invoke(t, "", args...).want(t, 1, "/nonexistent")
		if got := dumpable(); got != "0 <nil>\n" {
			t.Errorf("%s: PR_GET_DUMPABLE is %s", args[0], got)
		}
	}
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 1, 0, 0, 0); err != nil {
		t.Fatal(err)
	}
}

// TestExecHidesOnlyItsOwnMemory checks that the program that exec starts can be debugged.
func TestExecHidesOnlyItsOwnMemory(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := program(t, "exec", "--token-file", file(t, good), "--", "sh", "-c", `unset `+asProgram+`; exec "$0"`, self)
	cmd.Env = append(cmd.Env, printDumpable+"=1")
	var out bytes.Buffer
	cmd.Stdout = &out
	if err := cmd.Run(); err != nil || out.String() != "1 <nil>\n" {
		t.Errorf("%q %v", out.String(), err)
	}
}
