package supervise

import (
	"errors"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// killWithParent makes the kernel kill the command when this process is killed, because
// no process would then renew the token of the command.
func killWithParent(attr *syscall.SysProcAttr) { attr.Pdeathsig = syscall.SIGKILL }

// awaitEnd returns true when the process with the ID command has ended and can be reaped.
// Until then it reaps other children that end: process 1 of a container inherits orphans,
// which would stay as zombies and use up the process IDs. It returns false if it cannot
// wait.
func awaitEnd(command int) bool {
	// siginfo_t of sigaction(2). x/sys names only its head. The rest has the alignment of a
	// pointer and begins with si_pid.
	var info struct {
		signo, errno, code int32
		_                  [0]uintptr
		pid                int32
		_                  [128]byte
	}
	for {
		err := unix.Waitid(unix.P_ALL, 0, (*unix.Siginfo)(unsafe.Pointer(&info)), unix.WEXITED|unix.WNOWAIT, nil) //nolint:gosec // see above
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return false
		case int(info.pid) == command:
			return true
		default:
			_, _ = unix.Wait4(int(info.pid), nil, unix.WNOHANG, nil)
		}
	}
}
