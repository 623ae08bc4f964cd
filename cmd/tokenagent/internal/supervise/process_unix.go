//go:build unix

package supervise

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/exitcode"
)

// newLauncher returns a function that starts the command with a token in its environment.
func newLauncher(o *Options) (func(token string) (program, error), error) {
	if _, err := exec.LookPath(o.Command[0]); err != nil {
		return nil, cannotStart(o.Command[0], err)
	}
	return func(token string) (program, error) {
		cmd := exec.Command(o.Command[0], o.Command[1:]...) //nolint:gosec,noctx // the user's own command; signals end it
		cmd.Env = append(os.Environ(), o.Env+"="+token)     // the last value of a name counts
		p, err := startProcess(cmd)
		if err != nil {
			return nil, cannotStart(o.Command[0], err)
		}
		return p, nil
	}, nil
}

// cannotStart returns err with the exit code of a shell (POSIX XCU 2.8.2): 127 if the
// program is not found, 126 if it cannot be executed.
func cannotStart(name string, err error) error {
	if errors.Is(err, exec.ErrNotFound) || errors.Is(err, fs.ErrNotExist) {
		return exitcode.With(127, fmt.Errorf("%s: not found; name a program in PATH, or give its path", name))
	}
	for cause := err; cause != nil; cause = errors.Unwrap(cause) {
		err = cause // the innermost error does not repeat the name
	}
	return exitcode.With(126, fmt.Errorf("%s: cannot be executed: %w", name, err))
}

// A process is the running command. It leads a process group of its own, unless standard
// input is a terminal. Then it stays in the group of this process, because only the
// foreground group may read from the terminal.
type process struct {
	cmd      *exec.Cmd
	ownGroup bool
	done     chan struct{}

	mu     sync.Mutex
	reaped bool // another process may have got its process ID
}

func startProcess(cmd *exec.Cmd) (*process, error) {
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	p := &process{cmd: cmd, ownGroup: !foreground(), done: make(chan struct{})}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: p.ownGroup}
	killWithParent(cmd.SysProcAttr)
	started := make(chan error, 1)
	go func() {
		// On Linux the command dies with the thread that started it (PR_SET_PDEATHSIG in
		// prctl(2)). So this goroutine keeps its thread until the command has ended.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			p.wait()
			close(p.done)
		}
	}()
	return p, <-started
}

// wait returns when the command has ended and has been reaped. It kills the remaining
// processes of its group, which would keep ports and the old token.
func (p *process) wait() {
	reapable := awaitEnd(p.cmd.Process.Pid) // the process ID is not reused before the reaping
	if !reapable {
		_ = p.cmd.Wait() // code reads the ProcessState
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ownGroup {
		_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL)
	}
	if reapable {
		_ = p.cmd.Wait()
	}
	p.reaped = true
}

func (p *process) signal(sig os.Signal) { _ = p.cmd.Process.Signal(sig) } // fails only after the end

func (p *process) forward(sig os.Signal) {
	if !p.ownGroup && foreground() && (sig == syscall.SIGINT || sig == syscall.SIGQUIT || sig == syscall.SIGWINCH) {
		return // the terminal has sent the signal to both processes
	}
	p.signal(sig)
}

func (p *process) kill() {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.reaped:
	case p.ownGroup:
		_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL)
	default:
		_ = p.cmd.Process.Kill()
	}
}

func (p *process) ended() <-chan struct{} { return p.done }

func (p *process) code() int {
	state := p.cmd.ProcessState
	if state == nil {
		return 1 // another part of this process has reaped it
	}
	if status, ok := state.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		return 128 + int(status.Signal())
	}
	return state.ExitCode()
}

// foreground reports whether standard input is a terminal that sends its signals to the
// group of this process (tcgetpgrp(3)).
func foreground() bool {
	group, err := unix.IoctlGetInt(unix.Stdin, unix.TIOCGPGRP)
	return err == nil && group == unix.Getpgrp()
}
