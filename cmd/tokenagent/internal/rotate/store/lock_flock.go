//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package store

import (
	"errors"
	"os"
	"syscall"
)

// lock keeps other rotations out of dir until unlock is called. It is an
// advisory lock (flock(2)) on the directory itself, which leaves no file
// behind and ends with the process. File systems that know none are let off.
func lock(dir string) (unlock func(), err error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, explain(err)
	}
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		_ = f.Close()
		return nil, errBusy
	}
	return func() { _ = f.Close() }, nil
}
