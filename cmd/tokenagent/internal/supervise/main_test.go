//go:build unix

package supervise_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/cli"
	"github.com/tokenagent/tokenagent/pkg/verify"
)

// roleVar makes the test binary one of the programs that the tests run: the
// command line, or the program that it runs.
const roleVar = "TOKENAGENT_TEST_BINARY"

func TestMain(m *testing.M) {
	if os.Getenv(roleVar) == "" || len(os.Args) < 2 {
		goleak.VerifyTestMain(m)
		return
	}
	switch os.Args[1] {
	case "exec":
		beforeMain()
		os.Exit(cli.Main(context.Background(), "v0-test", os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
	case "cmd":
		os.Exit(command(os.Args[2], os.Args[3:], os.Stdout))
	}
	os.Exit(100)
}

const (
	canary  = "CANARY-4d1"
	tokenA  = canary + "e01-first"
	tokenB  = canary + "e02-second"
	tokenC  = canary + "e03-third"
	timeout = 20 * time.Second // a test that hangs; nothing is judged by it
)

func fingerprint(token string) string { return verify.Fingerprint(verify.Digest(token)) }

// A running is the command line in a process of its own.
type running struct {
	t     *testing.T
	cmd   *exec.Cmd
	token string // path
	out   *lines // what the program prints
	log   *lines // what exec logs
	done  chan struct{}
}

// setting is what the tests vary. Zero values: no flags, the usual environment.
type setting struct {
	flags   []string
	environ []string
	command []string // of the test binary as the program
	empty   bool     // no token yet
	stdin   *os.File // a terminal, which then is exec's own
}

// common is in the environment of each process. Without it, the race detector would make
// the process sleep for a second before it ends.
func common() []string { return []string{roleVar + "=1", "GORACE=atexit_sleep_ms=0"} }

// run starts `tokenagent exec` with tokenA, unless s says otherwise, and kills
// it at the test's end.
func run(t *testing.T, s setting) *running {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	r := &running{t: t, token: filepath.Join(t.TempDir(), "token"), out: newLines(), log: newLines(), done: make(chan struct{})}
	if !s.empty {
		r.rotate(tokenA)
	}
	args := append([]string{"exec", "--token-file", r.token, "--log-level", "debug"}, s.flags...)
	args = append(append(args, "--", self, "cmd"), s.command...)
	r.cmd = exec.Command(self, args...)
	r.cmd.Env = append(append(os.Environ(), common()...), s.environ...)
	if s.stdin != nil {
		r.cmd.Stdin, r.cmd.SysProcAttr = s.stdin, &syscall.SysProcAttr{Setsid: true, Setctty: true}
	}
	stdout, err := r.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	stderr, err := r.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := r.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var reading sync.WaitGroup
	reading.Go(func() { r.out.read(bufio.NewScanner(stdout)) })
	reading.Go(func() { r.log.read(bufio.NewScanner(stderr)) })
	go func() {
		reading.Wait()   // until both have ended, or closed these
		_ = r.cmd.Wait() // how it ended is in its ProcessState
		close(r.done)
	}()
	t.Cleanup(func() {
		_ = r.cmd.Process.Kill()
		select {
		case <-r.done:
		case <-time.After(timeout):
			t.Error("something goes on after exec was killed")
		}
		if log := r.log.String(); strings.Contains(log, canary) {
			t.Errorf("the log shows a token:\n%s", log)
		}
		if t.Failed() {
			t.Logf("printed:\n%s\nlogged:\n%s", r.out, r.log)
		}
	})
	return r
}

// rotate replaces the file at once.
func (r *running) rotate(token string) {
	r.t.Helper()
	if err := os.WriteFile(r.token+".tmp", []byte(token+"\n"), 0o600); err != nil {
		r.t.Fatal(err)
	}
	if err := os.Rename(r.token+".tmp", r.token); err != nil {
		r.t.Fatal(err)
	}
}

func (r *running) send(sig syscall.Signal) {
	r.t.Helper()
	if err := r.cmd.Process.Signal(sig); err != nil {
		r.t.Fatal(err)
	}
}

// prints waits for a line of the program, and logs for one of exec.
func (r *running) prints(text string) string { r.t.Helper(); return r.out.wait(r.t, text) }
func (r *running) logs(text string) string   { r.t.Helper(); return r.log.wait(r.t, text) }

// ends waits until exec and all processes that it started have ended.
func (r *running) ends(code int) {
	r.t.Helper()
	select {
	case <-r.done:
	case <-time.After(timeout):
		r.t.Fatal("exec does not end")
	}
	if got := r.cmd.ProcessState.ExitCode(); got != code {
		r.t.Errorf("exit code %d (%s), want %d", got, r.cmd.ProcessState, code)
	}
}

// lines collects the lines that are written to it.
type lines struct {
	mu   sync.Mutex
	b    bytes.Buffer
	more chan struct{} // closed at the next line
	end  bool
}

func newLines() *lines { return &lines{more: make(chan struct{})} }

func (l *lines) read(s *bufio.Scanner) {
	for s.Scan() {
		l.add(s.Text()+"\n", false)
	}
	l.add("", true)
}

func (l *lines) add(text string, end bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.b.WriteString(text)
	l.end = l.end || end
	close(l.more)
	l.more = make(chan struct{})
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// wait returns the first line that has text in it.
func (l *lines) wait(t *testing.T, text string) string {
	t.Helper()
	deadline := time.After(timeout)
	for {
		l.mu.Lock()
		all, end, more := l.b.String(), l.end, l.more
		l.mu.Unlock()
		for line := range strings.Lines(all) {
			if strings.Contains(line, text) {
				return strings.TrimSuffix(line, "\n")
			}
		}
		if end {
			t.Fatalf("it ended without: %s", text)
		}
		select {
		case <-more:
		case <-deadline:
			t.Fatalf("not within %v: %s", timeout, text)
		}
	}
}

func (l *lines) count(text string) int { return strings.Count(l.String(), text) }

// gone waits until no process has the pid, not even a zombie.
func gone(t *testing.T, pid int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), timeout)
	defer cancel()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for syscall.Kill(pid, 0) == nil {
		select {
		case <-tick.C:
		case <-ctx.Done():
			state, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
			t.Fatalf("process %d is still there: %s", pid, state)
		}
	}
}
