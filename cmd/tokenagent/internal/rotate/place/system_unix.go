//go:build unix

package place

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"
)

// own gives f the owner and the group of like, where they are others.
func own(f *os.File, like fs.FileInfo) error {
	have, err := f.Stat()
	if err != nil {
		return err
	}
	uid, gid, same := owner(have, like)
	if same {
		return nil
	}
	return kept(f.Chown(uid, gid), uid, gid)
}

// ownPath is own for a directory that we have just made.
func ownPath(path string, like fs.FileInfo) error {
	have, err := os.Lstat(path)
	if err != nil {
		return err
	}
	uid, gid, same := owner(have, like)
	if same {
		return nil
	}
	return kept(os.Lchown(path, uid, gid), uid, gid)
}

func owner(have, like fs.FileInfo) (uid, gid int, same bool) {
	h, ok := have.Sys().(*syscall.Stat_t)
	l, also := like.Sys().(*syscall.Stat_t)
	if !ok || !also {
		return 0, 0, true
	}
	return int(l.Uid), int(l.Gid), h.Uid == l.Uid && h.Gid == l.Gid
}

// madeFor reports whether a file of ours that was to take the place of like may
// be the one that info describes: it is ours, or has the owner of like already.
func madeFor(info, like fs.FileInfo) bool {
	i, ok := info.Sys().(*syscall.Stat_t)
	l, also := like.Sys().(*syscall.Stat_t)
	return ok && also && (int(i.Uid) == os.Geteuid() || i.Uid == l.Uid)
}

func names(info fs.FileInfo) int {
	s, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return 1
	}
	return int(s.Nlink)
}

func kept(err error, uid, gid int) error {
	if err != nil {
		return fmt.Errorf("%w, user %d and group %d; run this as that user or as root: %w", errOwner, uid, gid, err)
	}
	return nil
}

// syncDir makes the names in dir durable. File systems that cannot are let off.
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
