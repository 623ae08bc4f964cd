package store

import (
	"crypto/rand"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// tempMark is in the name of a new file until it replaces the old one.
const tempMark = ".tokenagent-"

// A replacement is a file that is to be replaced, or removed.
type replacement struct {
	path string
	temp string // the new file; "" to remove the old one
}

// prepare writes data to a new file beside the one at path, durably, with the mode
// and the owner of the file at like. data nil means that the file is to be removed.
// A failure leaves nothing behind.
func prepare(path string, data []byte, like string) (r replacement, err error) {
	info, err := os.Lstat(like)
	if err != nil || data == nil {
		return replacement{path: path}, err
	}
	r = replacement{path, filepath.Join(filepath.Dir(path), "."+filepath.Base(path)+tempMark+rand.Text())}
	f, err := os.OpenFile(r.temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return r, err
	}
	defer func() {
		if e := f.Close(); err == nil {
			err = e
		}
		if err != nil {
			err = errors.Join(err, os.Remove(r.temp))
		}
	}()
	if err := own(f, info); err != nil {
		return r, err
	}
	// After the owner: a change of that takes bits away (chown(2)).
	if err := f.Chmod(info.Mode().Perm()); err != nil {
		return r, err
	}
	if err := sameAccess(f, like); err != nil {
		return r, err
	}
	if _, err := f.Write(data); err != nil {
		return r, err
	}
	return r, f.Sync()
}

// commit replaces the file, or removes it.
func (r replacement) commit() error {
	if r.temp != "" {
		return os.Rename(r.temp, r.path)
	}
	if err := os.Remove(r.path); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// discard removes the new file where it was not used.
func (r replacement) discard() {
	if r.temp != "" {
		_ = os.Remove(r.temp)
	}
}

// sweep removes the new files that rotations of the file at path have left that
// were killed while they wrote: they hold tokens. Call it under the lock, when no
// other rotation can be at work. What is not ours stays, and stops nobody.
func sweep(path string, info fs.FileInfo) {
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil {
		return
	}
	for _, e := range entries {
		random, ours := strings.CutPrefix(e.Name(), "."+filepath.Base(path)+tempMark)
		if !ours || len(random) != len(rand.Text()) || strings.Trim(random, "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567") != "" || !e.Type().IsRegular() {
			continue
		}
		if have, err := e.Info(); err == nil && madeFor(have, info) {
			_ = os.Remove(filepath.Join(filepath.Dir(path), e.Name()))
		}
	}
}
