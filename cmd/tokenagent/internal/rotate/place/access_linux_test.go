package place_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/rotate/content"
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

func attribute(t *testing.T, path, name string) string {
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

// Who is let in by an access control list stays so, and the group, whose bits
// are then the mask, is not let in by them.
func TestAccessControlListsStay(t *testing.T) {
	path, dir := filepath.Join(t.TempDir(), "token"), t.TempDir()
	current, next := filepath.Join(dir, "token"), filepath.Join(dir, "token-next")
	put(t, path, "one", 0o600)
	put(t, current, "one", 0o600)
	put(t, next, "two", 0o600)
	lists := map[string][]byte{path: acl(t, 1001, 4), current: acl(t, 1002, 4), next: acl(t, 1003, 4), dir: acl(t, 1004, 5)}
	for p, list := range lists {
		setAttribute(t, p, aclAccess, list)
	}
	lists[filepath.Join(dir, "token-previous")] = lists[current]
	for range 2 { // laid out, and laid out already
		if err := readFile(t, path).Replace(t.Context(), []byte("two")); err != nil {
			t.Fatal(err)
		}
		edit := content.KeyEdit{"token": []byte("two"), "token-next": []byte("three"), "token-previous": []byte("one")}
		if err := readDir(t, dir).Replace(t.Context(), edit); err != nil {
			t.Fatal(err)
		}
		for p, list := range lists {
			if attribute(t, p, aclAccess) != string(list) {
				t.Errorf("%s has another access control list", filepath.Base(p))
			}
		}
		if data := filepath.Join(dir, "..data"); attribute(t, data, aclAccess) != string(lists[dir]) {
			t.Error("the directory that ..data leads to has another list than the one around it")
		}
	}
}

// A directory's default list would let others in than the old file did.
func TestDefaultListsDoNotCount(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "key")
	put(t, path, "one", 0o640)
	setAttribute(t, dir, aclDefault, acl(t, 1001, 4))
	if err := readFile(t, path).Replace(t.Context(), []byte("two")); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode() != 0o640 || attribute(t, path, aclAccess) != "" {
		t.Errorf("it has an access control list that it did not have, or mode %v", info.Mode())
	}
}

func TestLabelsStay(t *testing.T) {
	const label = "system_u:object_r:etc_t:s0\x00"
	path := filepath.Join(t.TempDir(), "key")
	put(t, path, "one", 0o604)
	setAttribute(t, path, "security.selinux", []byte(label))
	if err := readFile(t, path).Replace(t.Context(), []byte("two")); err != nil {
		t.Fatal(err)
	}
	if got := attribute(t, path, "security.selinux"); got != label {
		t.Errorf("the label is %q", got)
	}
}
