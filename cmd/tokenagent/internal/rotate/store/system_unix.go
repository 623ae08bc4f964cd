//go:build unix

package store

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// lock keeps other rotations out of dir until unlock is called. It is an advisory lock on
// the directory itself (flock(2)), which leaves no file behind and ends with the process.
// On file systems without such locks it does nothing.
func lock(dir string) (unlock func(), err error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); errors.Is(err, syscall.EWOULDBLOCK) {
		_ = f.Close()
		return nil, errBusy
	}
	return func() { _ = f.Close() }, nil
}

// keepOwner gives f the owner and the group of like.
func keepOwner(f *os.File, like fs.FileInfo) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	is, ok := info.Sys().(*syscall.Stat_t)
	was, also := like.Sys().(*syscall.Stat_t)
	if !ok || !also || is.Uid == was.Uid && is.Gid == was.Gid {
		return nil
	}
	if err := f.Chown(int(was.Uid), int(was.Gid)); err != nil {
		return fmt.Errorf("%w, user %d and group %d; run this as that user or as root: %w", errOwner, was.Uid, was.Gid, err)
	}
	return nil
}

// links returns how many names (hard links) the file at path has.
func links(path string) int {
	var s syscall.Stat_t
	if syscall.Lstat(path, &s) != nil {
		return 1
	}
	return int(s.Nlink)
}

// syncDir makes the names in dir durable, on file systems that can.
func syncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := f.Sync(); err != nil && !errors.Is(err, syscall.EINVAL) && !errors.Is(err, errors.ErrUnsupported) {
		return err
	}
	return nil
}

// closed reports whether w is a standard stream that was closed when this program was
// started. The Go runtime puts /dev/null there, open for reading and writing, as no shell
// opens it for output.
func closed(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	null, e := os.Stat(os.DevNull)
	if err != nil || e != nil || !os.SameFile(info, null) {
		return false
	}
	flags, err := unix.FcntlInt(f.Fd(), unix.F_GETFL, 0)
	return err == nil && flags&unix.O_ACCMODE == unix.O_RDWR
}
