//go:build unix

package cli

import (
	"bytes"
	"context"
	"io"
	"os"
	"os/exec"
	"syscall"
	"testing"
)

// TestSignalsEndCommands sends each signal to a process that reads standard input.
func TestSignalsEndCommands(t *testing.T) {
	path := file(t, good)
	for _, sig := range []os.Signal{syscall.SIGINT, syscall.SIGTERM} {
		for _, args := range [][]string{{"verify", "--token-file", path}, {"inspect"}} {
			cmd := program(t, args...)
			in, err := cmd.StdinPipe()
			if err != nil {
				t.Fatal(err)
			}
			var errOut bytes.Buffer
			cmd.Stderr = &errOut
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			// This is more than a pipe holds, so the program has begun to read when Write returns.
			if _, err := in.Write(make([]byte, 256<<10)); err != nil {
				t.Fatal(err)
			}
			wantEnd(t, cmd, sig, 130)
			if errOut.String() != "tokenagent: interrupted\n" {
				t.Errorf("%v at %s: %q", args, sig, errOut.String())
			}
		}
	}
}

// wantEnd sends sig to cmd and checks its exit code.
func wantEnd(t *testing.T, cmd *exec.Cmd, sig os.Signal, code int) {
	t.Helper()
	if err := cmd.Process.Signal(sig); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); cmd.ProcessState.ExitCode() != code {
		t.Errorf("%v at %s: %v, want exit code %d", cmd.Args[1:], sig, err, code)
	}
}

// TestSignalEndsCommandThatHangs sends a signal to a command that opens a named pipe.
func TestSignalEndsCommandThatHangs(t *testing.T) {
	pipe := t.TempDir() + "/pipe"
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := program(t, "generate", "--jwt", "HS256", "--signing-key", pipe)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	w, err := os.OpenFile(pipe, os.O_WRONLY, 0) // waits for the reader
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	wantEnd(t, cmd, syscall.SIGTERM, 130)
}

// TestCancelledReadEndsAtOnce gives a command an input that never ends.
func TestCancelledReadEndsAtOnce(t *testing.T) {
	in, w := io.Pipe()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan int, 1)
	var out, errOut bytes.Buffer
	go func() { ended <- Main(ctx, "", []string{"inspect"}, in, &out, &errOut) }()
	if _, err := w.Write([]byte("a")); err != nil { // returns when the command reads
		t.Fatal(err)
	}
	cancel()
	if code := <-ended; code != 130 || errOut.String() != "tokenagent: interrupted\n" {
		t.Errorf("exit code %d, %q", code, errOut.String())
	}
	_ = w.Close()
}
