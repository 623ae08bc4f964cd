//go:build unix

package statefile

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"
	"time"
)

// openFlags keep an open from following a link or waiting for a pipe (open(2)).
const openFlags = syscall.O_NOFOLLOW | syscall.O_NONBLOCK

// sharedDir says why others could put files into the directory, and "" if they
// could not. The sticky bit is no help: it lets them create what is not there.
func sharedDir(info fs.FileInfo) string {
	switch owner, ok := ownerOf(info); {
	case !ok:
		return ""
	case owner != os.Geteuid() && owner != 0:
		return "belongs to another user; give it to the user of this process"
	case info.Mode().Perm()&0o022 != 0:
		return fmt.Sprintf("can be written by others (mode %s); chmod go-w, or put the file into a directory of its own, which is made with mode 0700", info.Mode().Perm())
	}
	return ""
}

// sharedFile says why the file is not private and our own, and "" if it is.
func sharedFile(info fs.FileInfo) string {
	switch owner, ok := ownerOf(info); {
	case !ok:
		return ""
	case owner != os.Geteuid():
		return "it belongs to another user; remove it, or give each user a file of their own"
	case info.Mode().Perm() != mode:
		return fmt.Sprintf("its mode is %s; chmod 600", info.Mode().Perm())
	}
	return ""
}

func ownerOf(info fs.FileInfo) (uid int, ok bool) {
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return 0, false
	}
	return int(stat.Uid), true
}

// lock keeps others that call it out of the directory until unlock. Nobody holds
// it for longer than a small file takes to be written, so it is tried for a while
// and not waited for (flock(2)).
func lock(root *os.Root) (unlock func(), err error) {
	d, err := root.Open(".")
	if err != nil {
		return nil, err
	}
	for range lockTries {
		if err = syscall.Flock(int(d.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err == nil {
			return func() { _ = d.Close() }, nil
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			break
		}
		<-time.After(lockPause)
	}
	_ = d.Close()
	return nil, err
}

const (
	lockTries = 100
	lockPause = 20 * time.Millisecond
)

// syncDir makes a rename in the directory durable (fsync(2), "Notes").
func syncDir(root *os.Root) error {
	d, err := root.Open(".")
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}
