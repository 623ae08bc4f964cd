package store

import (
	"bytes"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// sameAccess returns an error if the file at path has another access control list (acl(5))
// or SELinux label than the file at like, which are not copied. With a list, the group bits
// of the mode are the mask of the list, so the mode alone would give the group other rights.
func sameAccess(path, like string) error {
	for _, a := range []struct{ name, text string }{
		{"system.posix_acl_access", "access control list (getfacl) is not what a new file gets there; remove it (setfacl -b), or make it the directory's default"},
		{"security.selinux", "SELinux label is not what a new file gets there; set that one (restorecon)"},
	} {
		was, err := attribute(like, a.name)
		if err != nil {
			return err
		}
		is, err := attribute(path, a.name)
		if err != nil {
			return err
		}
		if !bytes.Equal(was, is) {
			return fmt.Errorf("%w of %s: its %s", errAccess, like, a.text)
		}
	}
	return nil
}

// attribute reads an extended attribute. It returns nil if there is none.
func attribute(path, name string) ([]byte, error) {
	value := make([]byte, 64<<10) // the longest value (XATTR_SIZE_MAX, xattr(7))
	n, err := unix.Getxattr(path, name, value)
	if errors.Is(err, unix.ENODATA) || errors.Is(err, unix.ENOTSUP) {
		return nil, nil
	}
	return value[:max(n, 0)], err
}
