package supervise

import (
	"errors"
	"os"
	"os/exec"
	"os/signal"
	"sync"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// orphans reaps the processes that this one inherits as process 1 of a
// container, or as a subreaper (prctl(2), PR_SET_CHILD_SUBREAPER). Left alone
// they would stay as zombies and use up the pids. The command itself is left to
// os/exec: each child that has ended is first looked at and only then reaped.
type orphans struct {
	mu    sync.Mutex
	own   int            // the pid of the command, which os/exec reaps; 0 for none
	ended chan os.Signal // SIGCHLD; nil where no orphans come
}

// start starts cmd. No orphan is reaped meanwhile: a child that ends before its
// pid is noted would be taken for one.
func (o *orphans) start(cmd *exec.Cmd) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if err := cmd.Start(); err != nil {
		return err
	}
	o.own = cmd.Process.Pid
	return nil
}

// reaped notes that the command has been.
func (o *orphans) reaped() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.own = 0
	select {
	case o.ended <- syscall.SIGCHLD: // it may have hidden others
	default:
	}
}

// reap reaps the orphans that have ended, up to the command itself: until that
// is reaped too, the kernel may show nothing behind it.
func (o *orphans) reap() {
	o.mu.Lock()
	defer o.mu.Unlock()
	for {
		pid := nextEnded()
		if pid == 0 || pid == o.own {
			return
		}
		_, _ = unix.Wait4(pid, nil, unix.WNOHANG, nil)
	}
}

// nextEnded returns the pid of a child that has ended and is not reaped yet; 0
// for none.
func nextEnded() int {
	// siginfo_t as of sigaction(2), of which x/sys names only the head: what
	// follows it is aligned as a pointer is, and begins with si_pid.
	var info struct {
		signo, errno, code int32
		fields             [0]uintptr
		pid                int32
		_                  [128]byte
	}
	for {
		err := unix.Waitid(unix.P_ALL, 0, (*unix.Siginfo)(unsafe.Pointer(&info)), unix.WEXITED|unix.WNOHANG|unix.WNOWAIT, nil) //nolint:gosec // see above
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return 0
		default:
			return int(info.pid)
		}
	}
}

// watch reaps orphans as they end, until stop. Where none can come it does
// nothing.
func (o *orphans) watch() (stop func()) {
	if os.Getpid() != 1 && !subreaper() {
		return func() {}
	}
	ended, done := make(chan os.Signal, 1), make(chan struct{})
	signal.Notify(ended, syscall.SIGCHLD)
	o.mu.Lock()
	o.ended = ended
	o.mu.Unlock()
	var watching sync.WaitGroup
	watching.Go(func() {
		for {
			o.reap() // first of all those that ended before
			select {
			case <-ended:
			case <-done:
				return
			}
		}
	})
	return func() {
		signal.Stop(ended)
		close(done)
		watching.Wait()
	}
}

func subreaper() bool {
	var on int32
	_, _, errno := unix.Syscall(unix.SYS_PRCTL, unix.PR_GET_CHILD_SUBREAPER, uintptr(unsafe.Pointer(&on)), 0) //nolint:gosec // where the kernel writes the answer
	return errno == 0 && on != 0
}
