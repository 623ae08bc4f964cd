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

// sharedDir returns why others could create files in the directory, and "" if they could
// not. The sticky bit does not help: it lets others create files that do not exist yet.
func sharedDir(info fs.FileInfo) string {
	switch owner := ownerOf(info); {
	case owner != os.Geteuid() && owner != 0:
		return "belongs to another user; give it to the user of this process"
	case info.Mode().Perm()&0o022 != 0:
		return fmt.Sprintf("can be written by others (mode %s); chmod go-w, or put the file into a directory of its own, which is made with mode 0700", info.Mode().Perm())
	}
	return ""
}

// sharedFile returns why the file is not private, and "" if it is.
func sharedFile(info fs.FileInfo) string {
	switch {
	case ownerOf(info) != os.Geteuid():
		return "it belongs to another user; remove it, or give each user a file of their own"
	case info.Mode().Perm() != mode:
		return fmt.Sprintf("its mode is %s; chmod 600", info.Mode().Perm())
	}
	return ""
}

func ownerOf(info fs.FileInfo) (uid int) {
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return -1
	}
	return int(stat.Uid)
}

// lock locks the directory against other calls of lock, until unlock. A holder writes a
// small file and is soon done, so lock tries for two seconds and then returns an error.
func lock(dir *os.Root) (unlock func(), err error) {
	d, err := dir.Open(".")
	if err != nil {
		return nil, err
	}
	for range 100 {
		err = syscall.Flock(int(d.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			break
		}
		<-time.After(20 * time.Millisecond)
	}
	if err != nil {
		_ = d.Close()
		return nil, err
	}
	return func() { _ = d.Close() }, nil
}

// syncDir makes a rename in the directory durable (fsync(2), "Notes").
func syncDir(dir *os.Root) error {
	d, err := dir.Open(".")
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}
