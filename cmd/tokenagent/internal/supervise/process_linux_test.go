package supervise_test

import (
	"strconv"
	"strings"
	"syscall"
	"testing"
)

func number(t *testing.T, text string) int {
	t.Helper()
	n, err := strconv.Atoi(text[strings.LastIndexByte(text, ' ')+1:])
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// TestOrphansAreReaped has the program leave three processes behind, as by a
// double fork, that end one after the other.
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

// TestGroupIsKilled has the program leave a process in its group behind, which
// would hold a port or send the old token.
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

// TestDiesWithExec relies on the program holding the standard output of exec:
// run's cleanup, and ends, wait until nobody does.
func TestDiesWithExec(t *testing.T) {
	t.Parallel()
	r := run(t, setting{flags: []string{"--env=THE_TOKEN"}, command: []string{"deaf"}})
	r.prints("started with " + fingerprint(tokenA))
	r.send(syscall.SIGKILL)
	r.ends(-1)
}
