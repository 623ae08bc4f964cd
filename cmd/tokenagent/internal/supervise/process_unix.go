//go:build unix

package supervise

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// A launcher starts the command.
type launcher struct {
	command []string
	name    string // of the variable
	environ []string
	orphans orphans
}

func newLauncher(o *Options) (*launcher, error) {
	if _, err := exec.LookPath(o.Command[0]); err != nil {
		return nil, cannotStart(o.Command[0], err)
	}
	l := &launcher{command: o.Command, name: o.Env, environ: without(o.Environ, o.Env)}
	return l, nil
}

func (l *launcher) watch() (stop func()) { return l.orphans.watch() }

// without returns environ without the variable.
func without(environ []string, name string) []string {
	return slices.DeleteFunc(slices.Clone(environ), func(e string) bool { return strings.HasPrefix(e, name+"=") })
}

// cannotStart gives err the exit code that POSIX has shells give: 127 for what
// is not found, 126 for what cannot be executed (XCU 2.8.2).
func cannotStart(name string, err error) error {
	if errors.Is(err, exec.ErrNotFound) || errors.Is(err, fs.ErrNotExist) {
		return startError{fmt.Errorf("%s: not found; name a program in PATH, or give its path", name), 127}
	}
	if e, ok := errors.AsType[*exec.Error](err); ok {
		err = e.Err
	}
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		err = e.Err
	}
	return startError{fmt.Errorf("%s: cannot be executed: %w", name, err), 126}
}

// A process is the command while it runs, at the head of a process group of its
// own; on a terminal in ours, so that it may read from there and is stopped and
// interrupted with us.
type process struct {
	cmd   *exec.Cmd
	group bool
	done  chan struct{}

	mu   sync.Mutex
	gone bool // its pid, and its group's, may be another's
}

// launch starts the command with the token in its environment.
func (l *launcher) launch(token string) (program, error) {
	cmd := exec.Command(l.command[0], l.command[1:]...) //nolint:gosec,noctx // the user's own command, which ends by signals
	cmd.Env = slices.Concat(l.environ, []string{l.name + "=" + token})
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	p := &process{cmd: cmd, group: !foreground(), done: make(chan struct{})}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: p.group}
	dieWithUs(cmd.SysProcAttr)
	started := make(chan error, 1)
	go func() {
		// What dies with its parent on Linux dies with the thread that made it
		// (PR_SET_PDEATHSIG in prctl(2)). So that thread is kept until then.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := l.orphans.start(cmd)
		started <- err
		if err == nil {
			p.wait()
			l.orphans.reaped()
			close(p.done)
		}
	}()
	if err := <-started; err != nil {
		return nil, cannotStart(l.command[0], err)
	}
	return p, nil
}

// wait returns once the command has ended and been reaped. What is left of its
// group is killed before: it would keep ports and the old token.
func (p *process) wait() {
	held := awaitEnd(p.cmd.Process.Pid) // its pid stays its own until it is reaped
	if !held {
		_ = p.cmd.Wait() // how it ended is in its ProcessState
	}
	p.mu.Lock()
	if p.group {
		_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL)
	}
	if held {
		_ = p.cmd.Wait()
	}
	p.gone = true
	p.mu.Unlock()
}

func (p *process) signal(sig os.Signal) { _ = p.cmd.Process.Signal(sig) } // fails where it has ended, which ended tells

func (p *process) forward(sig os.Signal) {
	if !p.group && foreground() && (sig == syscall.SIGINT || sig == syscall.SIGQUIT || sig == syscall.SIGWINCH) {
		return // the terminal has sent it to both
	}
	p.signal(sig)
}

func (p *process) kill() {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.gone:
	case p.group:
		_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL)
	default:
		_ = p.cmd.Process.Kill()
	}
}

func (p *process) ended() <-chan struct{} { return p.done }

func (p *process) code() int {
	if p.cmd.ProcessState == nil {
		return 1 // somebody else has reaped it
	}
	status, ok := p.cmd.ProcessState.Sys().(syscall.WaitStatus)
	switch {
	case !ok:
		return 1
	case status.Signaled():
		return 128 + int(status.Signal())
	default:
		return status.ExitStatus()
	}
}

// foreground reports whether standard input is a terminal that sends its
// signals to our process group (tcgetpgrp(3)).
func foreground() bool {
	group, err := unix.IoctlGetInt(unix.Stdin, unix.TIOCGPGRP)
	return err == nil && group == unix.Getpgrp()
}
