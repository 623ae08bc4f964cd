//go:build unix && !solaris && !aix

package listener

import (
	"context"
	"errors"
	"os"
	"syscall"
	"time"
)

// errRefused is the error of a connection to a socket file on which no process listens.
const errRefused = syscall.ECONNREFUSED

// lockRetry is the interval between two attempts to get the lock.
const lockRetry = 5 * time.Millisecond

// lockTimeout is how long lock waits for another process, which normally holds the lock
// for milliseconds.
const lockTimeout = 5 * time.Second

// lock keeps other starting processes out of dir until unlock is called. It locks
// the directory itself (flock(2)), so it leaves no file behind, and the lock ends
// with the process. If the file system does not support locks, lock succeeds without one.
func lock(ctx context.Context, dir string) (unlock func(), err error) {
	d, err := os.OpenFile(dir, os.O_RDONLY|syscall.O_DIRECTORY, 0)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, lockTimeout)
	defer cancel()
	retry := time.NewTicker(lockRetry)
	defer retry.Stop()
	for {
		err := syscall.Flock(int(d.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if !errors.Is(err, syscall.EWOULDBLOCK) && !errors.Is(err, syscall.EINTR) {
			return func() { _ = d.Close() }, nil
		}
		select {
		case <-ctx.Done():
			_ = d.Close()
			return nil, errors.New("another process holds a lock on it; end that process, or choose another directory")
		case <-retry.C:
		}
	}
}

// denyAll sets the mode of the socket to 0 between socket(2) and bind(2). On Linux, bind
// gives the file the mode of the socket, so nobody can connect before chmod. Other
// systems refuse the call; there the umask decides until chmod.
func denyAll(_, _ string, c syscall.RawConn) error {
	return c.Control(func(fd uintptr) { _ = syscall.Fchmod(int(fd), 0) })
}
