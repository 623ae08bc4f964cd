package store

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/rotate/content"
)

// ErrChanged reports that somebody else changed the source after it was read. Nothing was
// written.
var ErrChanged = errors.New("somebody else changed it in the meantime; nothing was written: look at it (tokenagent rotate status) and try again")

var (
	errBusy   = errors.New("another rotation is running there; nothing was written: try again when it is done")
	errOwner  = errors.New("cannot keep the owner")
	errAccess = errors.New("cannot keep the access rights")
)

// A replacement is a file that is to be replaced or removed.
type replacement struct {
	path string
	data []byte // nil to remove the file
	like string // the file whose mode and owner the new one gets
	temp string // the new file, until it replaces the old one
}

// removalPause is the pause before a key is removed. An agent reads a new file after a few
// milliseconds, but once a key is gone, it waits for its debounce. The pause lets it read
// what was written first, such as a revocation.
const removalPause = 50 * time.Millisecond

// replaceAll makes the changes one after the other, and calls done after each. It makes all
// new files first, so that what cannot be written is refused before anything changes, and
// then asks once more whether the source is unchanged.
func replaceAll(ctx context.Context, changes []replacement, unchanged func(context.Context) error, done func(replacement) error) error {
	defer func() {
		for _, r := range changes {
			_ = os.Remove(r.temp) // if it was not renamed
		}
	}()
	for i := range changes {
		if err := changes[i].prepare(); err != nil {
			return fmt.Errorf("writing the new files: %w", explain(err))
		}
	}
	if err := unchanged(ctx); err != nil {
		return err
	}
	for i, r := range changes {
		if r.data == nil && i > 0 {
			select {
			case <-ctx.Done():
			case <-time.After(removalPause):
			}
		}
		err := r.commit()
		if err == nil {
			i++
			err = errors.Join(syncDir(filepath.Dir(r.path)), done(r))
		}
		if err != nil {
			return fmt.Errorf("%d of %d files are replaced; do the step again: %w", i, len(changes), explain(err))
		}
	}
	return nil
}

// tempMark is in the name of a new file.
const tempMark = ".tokenagent-"

// prepare writes the new file, if there is to be one, durably.
func (r *replacement) prepare() (err error) {
	if r.data == nil {
		return nil
	}
	like, err := os.Lstat(r.like)
	if err != nil {
		return err
	}
	r.temp = filepath.Join(filepath.Dir(r.path), "."+filepath.Base(r.path)+tempMark+rand.Text())
	f, err := os.OpenFile(r.temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if err := keepOwner(f, like); err != nil {
		return err
	}
	// After the owner: a change of that takes bits away (chown(2)).
	if err := f.Chmod(like.Mode().Perm()); err != nil {
		return err
	}
	if err := sameAccess(r.temp, r.like); err != nil {
		return err
	}
	if _, err := f.Write(r.data); err != nil {
		return err
	}
	return f.Sync()
}

// commit replaces or removes the file.
func (r *replacement) commit() error {
	if r.data != nil {
		return os.Rename(r.temp, r.path)
	}
	if err := os.Remove(r.path); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// removeLeftovers removes the new files of the named files in dir that killed rotations
// have left: they hold tokens. The caller must hold the lock.
func removeLeftovers(dir string, names []string) {
	entries, _ := os.ReadDir(dir)
	for _, e := range entries {
		end := strings.LastIndex(e.Name(), tempMark)
		if end > 0 && e.Type().IsRegular() && e.Name()[0] == '.' && content.IsName(names, e.Name()[1:end]) {
			_ = os.Remove(filepath.Join(dir, e.Name()))
		}
	}
}

// explain adds the fix to an error of the operating system.
func explain(err error) error {
	switch {
	case errors.Is(err, errOwner), errors.Is(err, errAccess):
		return err
	case errors.Is(err, syscall.EBUSY):
		return fmt.Errorf("%w; if the file itself is a mount point, mount its directory instead, or rotate the file on the host", err)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("%w; run this as the owner of the directory", err)
	}
	return err
}
