package supervise

import (
	"errors"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// dieWithUs has the kernel kill the command when this process is killed, since nobody
// would renew its token any more.
func dieWithUs(attr *syscall.SysProcAttr) { attr.Pdeathsig = syscall.SIGKILL }

// awaitEnd returns true once the command with this process id has ended and can be reaped.
// Meanwhile it reaps the other children that end: as process 1 of a container we inherit
// orphans, which would stay as zombies and use up the process ids. It returns false if it
// cannot tell.
func awaitEnd(command int) bool {
	// siginfo_t of sigaction(2). x/sys names only its head; the rest is aligned as a pointer
	// is, and begins with si_pid.
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
