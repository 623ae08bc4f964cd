// Package statefile keeps a small file that is as sensitive as a secret. It reads and
// writes the file only if nobody else can have written it or can read it.
//
// The file must be a regular file that belongs to our own user and has mode 0600, in a
// directory in which others cannot create files. Otherwise the error is [ErrForeign], and
// the file is neither read nor replaced. A file that was not written completely is
// [ErrDamaged], and the next Update replaces it. On systems without Unix permissions,
// owners and modes are not checked.
package statefile

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// The errors of a file, for errors.Is. If the file does not exist, the error is
// fs.ErrNotExist.
var (
	ErrForeign = errors.New("not a private file of our own")
	ErrDamaged = errors.New("damaged")
)

// maxBytes limits the size of the file: a hundred thousand revocations.
const maxBytes = 8 << 20

// header is the first line of the file. The payload is the second line.
const header = "tokenagent state, format 1\n"

// mode is the exact mode of the file.
const mode fs.FileMode = 0o600

// Load returns the payload that Update wrote to path.
func Load(path string) ([]byte, error) {
	dir, err := openDir(path)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	defer dir.Close()
	return load(dir, path)
}

// Update replaces the payload of path by the result of f, which must be one line. A reader
// finds the old payload or the new one, also after a crash. The arguments of f are the
// results of Load; f must return an ErrForeign. While f runs, other calls of Update wait.
// If f returns an error or nil, the file stays as it is. If the directory of the file does
// not exist, Update creates it with mode 0700, but not its parents.
func Update(path string, f func(payload []byte, err error) ([]byte, error)) error {
	if err := os.Mkdir(filepath.Dir(path), 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%s: its directory cannot be created: %w", path, cause(err))
	}
	dir, err := openDir(path)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	defer dir.Close()
	unlock, err := lock(dir)
	if err != nil {
		return fmt.Errorf("%s: its directory is locked by another process: %w", path, cause(err))
	}
	defer unlock()
	payload, err := f(load(dir, path))
	if err != nil || payload == nil {
		return err
	}
	if len(header)+len(payload)+1 > maxBytes {
		return fmt.Errorf("%s: not written: more than %d bytes; take out revocations that are not needed any more", path, maxBytes)
	}
	if err := replace(dir, filepath.Base(path), payload); err != nil {
		return fmt.Errorf("%s: not written: %w", path, cause(err))
	}
	return nil
}

// openDir opens the directory of path. All operations use the open directory, so that the
// directory that was checked is the one that is used.
func openDir(path string) (*os.Root, error) {
	dir, err := os.OpenRoot(filepath.Dir(path))
	if err != nil {
		return nil, cause(err)
	}
	info, err := dir.Stat(".")
	if err == nil {
		if reason := sharedDir(info); reason != "" {
			err = fmt.Errorf("%w: its directory %s", ErrForeign, reason)
		}
	}
	if err != nil {
		_ = dir.Close()
		return nil, err
	}
	return dir, nil
}

// check returns an error if the file is not ours to read or replace. Since others cannot
// create files in the directory, the file stays the same between check and its use.
func check(dir *os.Root, path string) error {
	info, err := dir.Lstat(filepath.Base(path))
	if err != nil {
		return fmt.Errorf("%s: %w", path, cause(err))
	}
	var reason string
	switch {
	case info.Mode()&fs.ModeSymlink != 0:
		reason = "it is a symbolic link; name the file itself"
	case !info.Mode().IsRegular():
		reason = "it is no regular file; choose another path"
	case info.Size() > maxBytes:
		reason = "it was not written by tokenagent; choose another path"
	default:
		reason = sharedFile(info)
	}
	if reason != "" {
		return fmt.Errorf("%s: %w: %s", path, ErrForeign, reason)
	}
	return nil
}

func load(dir *os.Root, path string) ([]byte, error) {
	if err := check(dir, path); err != nil {
		return nil, err
	}
	data, err := dir.ReadFile(filepath.Base(path))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, cause(err))
	}
	text, ours := bytes.CutPrefix(data, []byte(header))
	payload, _, complete := bytes.Cut(text, []byte("\n"))
	switch {
	case len(data) > 0 && !ours:
		return nil, fmt.Errorf("%s: %w: it was not written by tokenagent; choose another path", path, ErrForeign)
	case !complete:
		return nil, fmt.Errorf("%s: %w: it is incomplete; it is replaced at the next change", path, ErrDamaged)
	}
	return payload, nil
}

// tempSuffix is long, so that no other file has the temporary name by chance.
const tempSuffix = ".tokenagent-new"

// replace writes the file under a temporary name and renames it. The caller holds the
// lock, so a file with the temporary name is the rest of a process that was killed.
func replace(dir *os.Root, name string, payload []byte) (err error) {
	temp := name + tempSuffix
	if err := dir.Remove(temp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	defer func() {
		if err != nil {
			_ = dir.Remove(temp)
		}
	}()
	f, err := dir.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(f, "%s%s\n", header, payload)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := dir.Rename(temp, name); err != nil {
		return err
	}
	return syncDir(dir)
}

// cause removes the path from an error of the file system, since the caller adds it.
func cause(err error) error {
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		return e.Err
	}
	if e, ok := errors.AsType[*os.LinkError](err); ok {
		return e.Err
	}
	return err
}
