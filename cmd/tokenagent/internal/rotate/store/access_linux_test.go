package store

import (
	"bytes"
	"encoding/binary"
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

const (
	aclAccess  = "system.posix_acl_access"
	aclDefault = "system.posix_acl_default"
)

// acl is an access control list as the kernel takes it (posix_acl_xattr.h): the
// user reader may read, the owning group may do nothing.
func acl(t *testing.T, reader uint32, perm uint16) []byte {
	t.Helper()
	const nobody = ^uint32(0)
	var b bytes.Buffer
	for _, v := range []any{
		uint32(2),
		[]uint16{0x01, 6},
		nobody, // the owner
		[]uint16{0x02, perm},
		reader, // a user by name
		[]uint16{0x04, 0},
		nobody, // the group
		[]uint16{0x10, perm},
		nobody, // the mask
		[]uint16{0x20, 0},
		nobody, // others
	} {
		if err := binary.Write(&b, binary.LittleEndian, v); err != nil {
			t.Fatal(err)
		}
	}
	return b.Bytes()
}

func setAttribute(t *testing.T, path, name string, value []byte) {
	t.Helper()
	err := unix.Setxattr(path, name, value, 0)
	if errors.Is(err, unix.ENOTSUP) || errors.Is(err, unix.EPERM) {
		t.Skipf("no attribute %s here: %v", name, err)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func xattr(t *testing.T, path, name string) string {
	t.Helper()
	value := make([]byte, 1<<10)
	n, err := unix.Getxattr(path, name, value)
	if errors.Is(err, unix.ENODATA) {
		return ""
	}
	if err != nil {
		t.Fatal(err)
	}
	return string(value[:n])
}

// Who is let in by an access control list would not be afterwards, and the group,
// whose bits are then the mask, would: so it is refused, and nothing changes.
func TestAccessControlListsAreRefused(t *testing.T) {
	path, key := filepath.Join(t.TempDir(), "token"), t.TempDir()
	for _, p := range []string{path, filepath.Join(key, "token")} {
		put(t, p, "one", 0o600)
		setAttribute(t, p, aclAccess, acl(t, 1001, 4))
	}
	const says = "cannot keep the access rights of "
	err := saveFile(t.Context(), loadFile(t, path), "two")
	if err == nil || !strings.Contains(err.Error(), says) || !strings.Contains(err.Error(), "access control list") {
		t.Errorf("file: %v", err)
	}
	err = loadDir(t, key).Save(t.Context(), writes(edits{"token": []byte("two"), "token-previous": []byte("one")}))
	if err == nil || !strings.Contains(err.Error(), says) || !strings.Contains(err.Error(), "access control list") {
		t.Errorf("directory: %v", err)
	}
	for _, p := range []string{path, filepath.Join(key, "token")} {
		have(t, p, "one")
		if got := list(t, filepath.Dir(p)); !slices.Equal(got, []string{"token"}) {
			t.Errorf("left: %q", got)
		}
	}
}

// A list that the old file has from its directory is one that the new one gets, too;
// one that it does not have would let others in.
func TestDefaultLists(t *testing.T) {
	dir := t.TempDir()
	without, with := filepath.Join(dir, "without"), filepath.Join(dir, "with")
	put(t, without, "one", 0o640)
	setAttribute(t, dir, aclDefault, acl(t, 1001, 4))
	put(t, with, "one", 0o640)
	list := xattr(t, with, aclAccess)
	if err := saveFile(t.Context(), loadFile(t, with), "two"); err != nil {
		t.Error(err)
	}
	if got := xattr(t, with, aclAccess); got != list || list == "" {
		t.Errorf("its access control list was %q and is %q", list, got)
	}
	if err := saveFile(t.Context(), loadFile(t, without), "two"); err == nil {
		t.Error("it has an access control list that it did not have")
	}
	have(t, without, "one")
}

func TestLabelsAreRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "key")
	put(t, path, "one", 0o604)
	setAttribute(t, path, "security.selinux", []byte("system_u:object_r:etc_t:s0\x00"))
	if err := saveFile(t.Context(), loadFile(t, path), "two"); err == nil || !strings.Contains(err.Error(), "SELinux label") {
		t.Error(err)
	}
	have(t, path, "one")
}
