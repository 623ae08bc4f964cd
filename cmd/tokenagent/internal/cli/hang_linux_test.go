package cli

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// hang mounts over dir a FUSE file system that never answers, until the test ends.
func hang(t *testing.T, dir string) {
	t.Helper()
	fd, err := unix.Open("/dev/fuse", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Skip("no FUSE: ", err)
	}
	options := fmt.Sprintf("fd=%d,rootmode=40000,user_id=%d,group_id=%d", fd, os.Getuid(), os.Getgid())
	if err := unix.Mount("test", dir, "fuse", 0, options); err != nil {
		_ = unix.Close(fd)
		t.Skip("mounting FUSE: ", err)
	}
	t.Cleanup(func() {
		_ = unix.Close(fd) // wakes everybody who waits for an answer
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
}

// TestHangingSourceEndsWithTheProgram ends programs whose source hangs after their start.
func TestHangingSourceEndsWithTheProgram(t *testing.T) {
	for name, c := range map[string]struct {
		args []string
		sig  os.Signal // nil if the program ends by itself
		code int
	}{
		"run":            {[]string{"run", "--listen", "127.0.0.1:0", "--admin-listen", "", "--log-level", "debug"}, syscall.SIGTERM, 0},
		"run, reloading": {[]string{"run", "--listen", "127.0.0.1:0", "--admin-listen", "", "--log-level", "debug"}, syscall.SIGHUP, 0},
		"exec, SIGTERM":  {[]string{"exec", "--", "sh", "-c", "echo started >&2; exec sleep 1000"}, syscall.SIGTERM, 128 + 15},
		"exec, its end":  {[]string{"exec", "--", "sh", "-c", "echo started >&2; read x; exit 7"}, nil, 7},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, "token")
			if err := os.WriteFile(path, []byte(good), 0o600); err != nil {
				t.Fatal(err)
			}
			cmd := program(t, append([]string{c.args[0], "--token-file", path, "--poll-interval", "10ms"}, c.args[1:]...)...)
			in, err := cmd.StdinPipe()
			if err != nil {
				t.Fatal(err)
			}
			errOut, err := cmd.StderrPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			watchdog := time.AfterFunc(time.Minute, func() { _ = cmd.Process.Kill() })
			defer watchdog.Stop()
			log := bufio.NewScanner(errOut)
			for log.Scan() && !strings.Contains(log.Text(), "listening") && log.Text() != "started" {
			}
			hang(t, dir)
			awaitHang(t, cmd.Process.Pid)
			if c.sig == syscall.SIGHUP {
				if err := cmd.Process.Signal(c.sig); err != nil {
					t.Fatal(err)
				}
				c.sig = syscall.SIGTERM
			}
			if c.sig == nil {
				_ = in.Close()
			} else if err := cmd.Process.Signal(c.sig); err != nil {
				t.Fatal(err)
			}
			for log.Scan() { // until it ends
			}
			if err := cmd.Wait(); cmd.ProcessState.ExitCode() != c.code {
				t.Errorf("%v, want exit code %d", err, c.code)
			}
		})
	}
}

// awaitHang waits until a thread of the process waits for an answer of FUSE.
func awaitHang(t *testing.T, pid int) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); <-tick.C {
		stacks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/wchan", pid))
		for _, stack := range stacks {
			if text, _ := os.ReadFile(stack); strings.Contains(string(text), "fuse") {
				return
			}
		}
	}
	t.Fatal("the program does not read its source")
}
