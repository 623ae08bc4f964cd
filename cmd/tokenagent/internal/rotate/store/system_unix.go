//go:build unix

package store

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
	h, ok := have.Sys().(*syscall.Stat_t)
	l, also := like.Sys().(*syscall.Stat_t)
	if !ok || !also || h.Uid == l.Uid && h.Gid == l.Gid {
		return nil
	}
	if err := f.Chown(int(l.Uid), int(l.Gid)); err != nil {
		return fmt.Errorf("%w, user %d and group %d; run this as that user or as root: %w", errOwner, l.Uid, l.Gid, err)
	}
	return nil
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
