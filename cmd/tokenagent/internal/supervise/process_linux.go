package supervise

import (
	"errors"
	"syscall"

	"golang.org/x/sys/unix"
)

// dieWithUs has the kernel kill the command when this process is: nobody would
// renew its token any more.
func dieWithUs(attr *syscall.SysProcAttr) { attr.Pdeathsig = syscall.SIGKILL }

// awaitEnd returns once the child has ended, and leaves it to be reaped. It
// reports false where it cannot tell.
func awaitEnd(pid int) bool {
	for {
		err := unix.Waitid(unix.P_PID, pid, nil, unix.WEXITED|unix.WNOWAIT, nil)
		if !errors.Is(err, unix.EINTR) {
			return err == nil
		}
	}
}
