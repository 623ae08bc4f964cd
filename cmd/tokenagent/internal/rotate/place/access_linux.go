package place

import (
	"bytes"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// maxAttribute is the longest value of an extended attribute in bytes
// (XATTR_SIZE_MAX, xattr(7)).
const maxAttribute = 64 << 10

const (
	aclAttribute   = "system.posix_acl_access" // acl(5)
	labelAttribute = "security.selinux"
)

// grant gives f what else decides about access at path, besides owner and mode:
// the access control list and the SELinux label. With a list, the group bits of
// the mode are its mask and no right of the group (acl(5)), so that the mode
// alone would shut out those who are named in it and let in others. A list that
// f has from its directory goes where path has none.
func grant(f *os.File, path string) error {
	acl, err := attribute(func(b []byte) (int, error) { return unix.Getxattr(path, aclAttribute, b) })
	switch {
	case err != nil:
		return fmt.Errorf("reading its access control list: %w", err)
	case acl != nil:
		err = unix.Fsetxattr(int(f.Fd()), aclAttribute, acl, 0)
	default:
		if err = unix.Fremovexattr(int(f.Fd()), aclAttribute); none(err) {
			err = nil
		}
	}
	if err != nil {
		return fmt.Errorf("%w, its access control list: %w; run this as its owner or as root", errAccess, err)
	}
	label, err := attribute(func(b []byte) (int, error) { return unix.Getxattr(path, labelAttribute, b) })
	if err != nil {
		return fmt.Errorf("reading its SELinux label: %w", err)
	}
	have, err := attribute(func(b []byte) (int, error) { return unix.Fgetxattr(int(f.Fd()), labelAttribute, b) })
	if err == nil && (label == nil || bytes.Equal(label, have)) {
		return nil
	}
	if err := unix.Fsetxattr(int(f.Fd()), labelAttribute, label, 0); err != nil {
		return fmt.Errorf("%w, its SELinux label: %w; run this as root, or give the file the label that its directory gives to new ones", errAccess, err)
	}
	return nil
}

// attribute reads an extended attribute, nil where there is none.
func attribute(read func([]byte) (int, error)) ([]byte, error) {
	value := make([]byte, maxAttribute)
	n, err := read(value)
	switch {
	case none(err):
		return nil, nil
	case err != nil:
		return nil, err
	}
	return value[:n], nil
}

// none reports whether err says that there is no such attribute, or that the
// file system has none at all.
func none(err error) bool { return errors.Is(err, unix.ENODATA) || errors.Is(err, unix.ENOTSUP) }
