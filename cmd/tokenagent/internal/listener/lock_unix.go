//go:build unix && !solaris && !aix

package listener

import (
	"context"
	"errors"
	"os"
	"syscall"
	"time"
)

// errRefused is how a socket file answers that nobody listens on.
const errRefused = syscall.ECONNREFUSED

// retry is how often a lock is tried that another process holds.
const retry = 5 * time.Millisecond

// lockLimit bounds how long another process may hold the lock, which it does for
// milliseconds when all is well.
const lockLimit = 5 * time.Second

// lock keeps other processes that start on a socket in dir out until unlock: two
// that find the same stale file would otherwise replace each other's. It locks the
// directory itself (flock(2)), so that no file is left behind, and a process that
// is killed holds nothing.
func lock(ctx context.Context, dir string) (unlock func(), err error) {
	d, err := os.OpenFile(dir, os.O_RDONLY|syscall.O_DIRECTORY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, lockLimit)
	defer cancel()
	t := time.NewTicker(retry)
	defer t.Stop()
	for {
		err := flock(d, syscall.LOCK_EX|syscall.LOCK_NB)
		switch {
		case err == nil:
			return func() { _ = d.Close() }, nil
		case errors.Is(err, syscall.ENOTSUP), errors.Is(err, syscall.ENOSYS), errors.Is(err, syscall.EINVAL), errors.Is(err, syscall.ENOLCK):
			_ = d.Close() // a file system without locks: all else holds
			return func() {}, nil
		case !errors.Is(err, syscall.EWOULDBLOCK) && !errors.Is(err, syscall.EINTR):
			_ = d.Close()
			return nil, err
		}
		select {
		case <-ctx.Done():
			_ = d.Close()
			return nil, errors.New("another process keeps it locked; end that, or choose another directory")
		case <-t.C:
		}
	}
}

func flock(f *os.File, how int) error {
	return syscall.Flock(int(f.Fd()), how)
}
