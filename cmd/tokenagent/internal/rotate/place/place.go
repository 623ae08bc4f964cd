// Package place reads the file or directory that a rotation is to change, and
// replaces it so that every reader sees the content of before or of after, and
// nothing else. Modes and owners stay, and what somebody else has changed
// meanwhile is not overwritten.
package place

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/rotate/content"
	"github.com/tokenagent/tokenagent/internal/kubemount"
	"github.com/tokenagent/tokenagent/pkg/verify"
	"github.com/tokenagent/tokenagent/pkg/verify/jwks"
)

// maxBytes bounds what is read of a file, or of all keys of a directory, in
// bytes: what package reload takes by default.
const maxBytes = 4 << 20

const (
	dataLink = "..data"
	nextLink = "..data_tmp"
)

// ErrChanged says that somebody else changed the place between our reading and
// our writing. Nothing was written.
var ErrChanged = errors.New("somebody else changed it meanwhile; nothing was written: look at it (tokenagent rotate status) and try again")

// errBusy says that another rotation holds the lock.
var errBusy = errors.New("another rotation is at work there; nothing was written: try again when it is done")

var (
	errOwner  = errors.New("cannot keep the owner")
	errAccess = errors.New("cannot keep the access rights")
)

// IsDir reports whether path leads to a directory. The error says what keeps
// path from being read as a source.
func IsDir(path string) (bool, error) {
	info, err := look(path)
	if err != nil {
		return false, err
	}
	return info.IsDir(), nil
}

// Changeable returns an error, with the mend, if path, which exists, is not to
// be changed by us or not by that name.
func Changeable(path string) error {
	dir, err := IsDir(path)
	if err != nil {
		return err
	}
	root := volume(path)
	switch {
	case root == "":
		return keyOfDirectory(path, dir)
	case kubemount.Managed(root):
		return fmt.Errorf("%s is in a volume that a kubelet keeps and would not take it from here; rotate the Secret: kubectl get secret NAME -o json | tokenagent rotate STEP | kubectl replace -f -", path)
	case !sameFile(root, path):
		return fmt.Errorf("%s is a key of a directory that is replaced as a whole; give the directory: %s", path, root)
	}
	return nil
}

// volume returns the directory laid out with ..data in which path lies, or that
// it is; "" if there is none.
func volume(path string) string {
	at := []string{path, filepath.Dir(path)}
	if end, err := filepath.EvalSymlinks(path); err == nil {
		at = append(at, end, filepath.Dir(end))
		if up := filepath.Dir(end); strings.HasPrefix(filepath.Base(up), "..") {
			at = append(at, filepath.Dir(up))
		}
	}
	for _, dir := range at {
		if info, err := os.Lstat(filepath.Join(dir, dataLink)); err == nil && info.Mode()&fs.ModeSymlink != 0 {
			return dir
		}
	}
	return ""
}

// currentNames are the names of keys under which something stands that needs no
// other key beside it.
func currentNames() []string { return []string{verify.KeyCurrent, jwks.KeyCurrent, jwks.KeyJWKS} }

// keyOfDirectory refuses a path that is one key of several in a plain
// directory: a line for another slot would spoil it.
func keyOfDirectory(path string, isDir bool) error {
	if isDir {
		return nil
	}
	dir, base := filepath.Split(path)
	beside := verify.Keys()
	switch {
	case !slices.Contains(content.Names(), base):
		return nil
	case !slices.Contains(currentNames(), base):
		return fmt.Errorf("%s has the name of a key; give the directory that it is in", path)
	case base != verify.KeyCurrent:
		beside = jwks.KeyNames()
	}
	for _, key := range beside {
		if slices.Contains(currentNames(), key) {
			continue
		}
		if _, err := os.Lstat(filepath.Join(dir, key)); err == nil {
			return fmt.Errorf("%s is one key of a directory, which has %s as well; give the directory", path, key)
		}
	}
	return nil
}

func sameFile(a, b string) bool {
	x, err := os.Stat(a)
	if err != nil {
		return false
	}
	y, err := os.Stat(b)
	return err == nil && os.SameFile(x, y)
}

// create writes a new file at path, durably, with the mode and the owner of the file
// at old, which like describes. A failure leaves nothing behind.
func create(path string, data []byte, old string, like fs.FileInfo) (err error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer func() {
		if e := f.Close(); err == nil {
			err = e
		}
		if err != nil {
			err = errors.Join(err, os.Remove(path))
		}
	}()
	if err := own(f, like); err != nil {
		return err
	}
	// After the owner: a change of that takes bits away (chown(2)).
	if err := f.Chmod(like.Mode().Perm()); err != nil {
		return err
	}
	if err := sameAccess(f, old); err != nil {
		return err
	}
	if _, err := f.Write(data); err != nil {
		return err
	}
	return f.Sync()
}

// explain adds the mend to what the system says.
func explain(err error) error {
	switch {
	case err == nil, errors.Is(err, errOwner), errors.Is(err, errAccess):
		return err
	case errors.Is(err, syscall.EBUSY):
		return fmt.Errorf("%w; if it is mounted by itself, mount its directory instead, or rotate the file on the host", err)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("%w; run this as the owner of the directory", err)
	}
	return err
}
