package supervise_test

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

func number(t *testing.T, text string) int {
	t.Helper()
	n, err := strconv.Atoi(text[strings.LastIndexByte(text, ' ')+1:])
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// TestOrphansAreReaped: the program leaves behind three processes, as after a double fork,
// which end one after the other.
func TestOrphansAreReaped(t *testing.T) {
	t.Parallel()
	r := run(t, setting{
		flags: []string{"--env=THE_TOKEN"}, environ: []string{roleVar + "=subreaper"}, command: []string{"orphans"},
	})
	r.prints("started with " + fingerprint(tokenA))
	var pids []int
	for line := range strings.Lines(r.out.String()) {
		if strings.HasPrefix(line, "orphan ") {
			pids = append(pids, number(t, strings.TrimSpace(line)))
		}
	}
	if len(pids) != 3 {
		t.Fatalf("%d orphans", len(pids))
	}
	for _, pid := range pids {
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		gone(t, pid)
	}
	r.send(syscall.SIGTERM)
	r.ends(5)
}

// TestGroupIsKilled: the program leaves behind a process in its group, which could keep a
// port or send the old token.
func TestGroupIsKilled(t *testing.T) {
	t.Parallel()
	r := run(t, setting{
		flags:   []string{"--env=THE_TOKEN", "--restart-delay=0s"},
		environ: []string{roleVar + "=subreaper"}, command: []string{"parent"},
	})
	pid := number(t, r.prints("child "))
	r.rotate(tokenB)
	r.prints("started with " + fingerprint(tokenB))
	gone(t, pid)
	r.send(syscall.SIGTERM)
	r.ends(5)
}

// TestDiesWithExec: the program has the standard output of exec open. The cleanup of run,
// and ends, wait until it is closed.
func TestDiesWithExec(t *testing.T) {
	t.Parallel()
	r := run(t, setting{flags: []string{"--env=THE_TOKEN"}, command: []string{"deaf"}})
	r.prints("started with " + fingerprint(tokenA))
	r.send(syscall.SIGKILL)
	r.ends(-1)
}

// TestTerminal: on a terminal the program has no group of its own. It is killed after the
// stop timeout. The terminal sends Ctrl-C to exec and to the program.
func TestTerminal(t *testing.T) {
	t.Parallel()
	keyboard, terminal := openTerminal(t)
	flags := []string{"--env=THE_TOKEN", "--restart-delay=0s", "--stop-timeout=10ms"}
	r := run(t, setting{flags: flags, stdin: terminal, command: []string{"deaf"}})
	r.prints("started with " + fingerprint(tokenA))
	r.rotate(tokenB)
	r.prints("started with " + fingerprint(tokenB))
	r.send(syscall.SIGSTOP) // so that two interrupts cannot come as one
	if _, err := keyboard.WriteString("\x03"); err != nil {
		t.Fatal(err)
	}
	r.prints("got interrupt")
	r.send(syscall.SIGCONT)
	r.prints("got continued") // behind what exec forwards before
	if n := r.out.count("got interrupt"); n != 1 {
		t.Errorf("the program was interrupted %d times", n)
	}
	r.rotate(tokenC) // it was told to end, and is not started any more
	r.logs("generation=3")
	r.send(syscall.SIGKILL)
	r.ends(-1)
	if n := r.out.count("started with"); n != 2 {
		t.Errorf("started %d times", n)
	}
}

// openTerminal returns both ends of a new pseudoterminal (pty(7)).
func openTerminal(t *testing.T) (keyboard, terminal *os.File) {
	t.Helper()
	keyboard, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skipf("no terminals here: %v", err)
	}
	t.Cleanup(func() { keyboard.Close() })
	fd := int(keyboard.Fd())
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	terminal, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skipf("no terminals here: %v", err)
	}
	t.Cleanup(func() { terminal.Close() })
	return keyboard, terminal
}
