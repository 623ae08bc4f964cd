package store

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

// sameAccess returns an error if f, which has the mode of the file at path already,
// has another access control list (acl(5)) or SELinux label: these are not copied.
// With a list, the group bits of the mode are its mask and no right of the group, so
// that the mode alone would shut out those who are named in it and let in others.
func sameAccess(f *os.File, path string) error {
	for _, a := range []struct{ name, text string }{
		{"system.posix_acl_access", "access control list (getfacl) is not what a new file gets there; remove it (setfacl -b), or make it the directory's default"},
		{"security.selinux", "SELinux label is not what a new file gets there; set that one (restorecon)"},
	} {
		was, err := attribute(func(b []byte) (int, error) { return unix.Getxattr(path, a.name, b) })
		if err != nil {
			return err
		}
		is, err := attribute(func(b []byte) (int, error) { return unix.Fgetxattr(int(f.Fd()), a.name, b) })
		if err != nil {
			return err
		}
		if !bytes.Equal(was, is) {
			return fmt.Errorf("%w of %s: its %s", errAccess, path, a.text)
		}
	}
	return nil
}

// attribute reads an extended attribute, nil where there is none or the file system
// knows none at all.
func attribute(read func([]byte) (int, error)) ([]byte, error) {
	value := make([]byte, maxAttribute)
	n, err := read(value)
	if errors.Is(err, unix.ENODATA) || errors.Is(err, unix.ENOTSUP) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return value[:n], nil
}
