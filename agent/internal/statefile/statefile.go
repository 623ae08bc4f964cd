// Package statefile keeps a small file that is as good as a secret: it is read
// and written only where nobody else could have put it there or can read it.
//
// A file that is not a regular one of our own user with mode 0600, or that stands
// in a directory in which others can put files, is [ErrForeign] and is neither
// read nor replaced. One whose bytes are not what was written is [ErrDamaged] and
// is replaced by the next Store. On systems without Unix permissions only what
// they can tell is checked.
package statefile

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// What can be wrong with a file, for errors.Is. One that is not there is
// fs.ErrNotExist.
var (
	ErrForeign = errors.New("not a private file of our own")
	ErrDamaged = errors.New("damaged")
)

// maxBytes bounds what is read and written: a hundred thousand revocations.
const maxBytes = 8 << 20

// magic is how a file of ours begins.
const magic = "tokenagent state, format 1\n"

// mode is what the file has, exactly.
const mode fs.FileMode = 0o600

// Load returns the payload that Update wrote to path.
func Load(path string) ([]byte, error) {
	root, name, err := open(path)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	return load(root, name, path)
}

func load(root *os.Root, name, path string) ([]byte, error) {
	data, err := read(root, name, path)
	if err != nil {
		return nil, err
	}
	// The last line is the sum of all before it.
	body, sum, ok := cutSum(data)
	payload, ours := bytes.CutPrefix(body, []byte(magic))
	switch {
	case len(data) > 0 && !bytes.HasPrefix(data, []byte(magic)):
		return nil, fmt.Errorf("%s: %w: it was not written by tokenagent; choose another path", path, ErrForeign)
	case !ok || !ours || sum != sumOf(body):
		return nil, fmt.Errorf("%s: %w: its checksum does not match; it is replaced at the next change", path, ErrDamaged)
	}
	return bytes.TrimSuffix(payload, []byte("\n")), nil
}

// Update replaces the payload of path by what f makes of it, in one step: whoever
// reads it, after a crash too, finds the old or the new one whole. f is given what
// Load returns, with the file locked against other calls of Update; it returns nil
// to leave it alone, and an error to say why. The file's directory is made if it
// is not there, with mode 0700, but none above it.
func Update(path string, f func(payload []byte, err error) ([]byte, error)) error {
	dir := filepath.Dir(path)
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%s: its directory cannot be made: %w", path, cause(err))
	}
	root, name, err := open(path)
	if err != nil {
		return err
	}
	defer root.Close()
	unlock, err := lock(root)
	if err != nil {
		return fmt.Errorf("%s: its directory is locked by another process: %w", path, cause(err))
	}
	defer unlock()
	payload, err := f(load(root, name, path))
	if err != nil || payload == nil {
		return err
	}
	return store(root, name, path, payload)
}

func store(root *os.Root, name, path string, payload []byte) error {
	if err := check(root, name, path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	body := slices.Concat([]byte(magic), payload, []byte("\n"))
	if len(body) > maxBytes-len(sumOf(nil))-1 {
		return fmt.Errorf("%s: not written: more than %d bytes; take out revocations that are not needed any more", path, maxBytes)
	}
	tidy(root, name)
	temp := name + tempInfix + rand.Text()
	if err := write(root, temp, append(body, sumOf(body)+"\n"...)); err != nil {
		_ = root.Remove(temp)
		return fmt.Errorf("%s: not written: %w", path, cause(err))
	}
	if err := root.Rename(temp, name); err != nil {
		_ = root.Remove(temp)
		return fmt.Errorf("%s: not written: %w", path, cause(err))
	}
	if err := syncDir(root); err != nil {
		return fmt.Errorf("%s: its directory cannot be flushed: %w", path, cause(err))
	}
	return nil
}

// tempInfix stands between the file's name and what makes a new one's unique.
const tempInfix = ".tmp-"

// tidy removes what a process left that was killed while it wrote. The lock is
// held, so nobody writes there now.
func tidy(root *os.Root, name string) {
	left, err := fs.Glob(root.FS(), "*"+tempInfix+"*")
	if err != nil {
		return
	}
	for _, one := range left {
		if strings.HasPrefix(one, name+tempInfix) {
			_ = root.Remove(one)
		}
	}
}

// open opens the directory of path, through which everything else is done, so
// that the directory that was checked is the one that is used.
func open(path string) (*os.Root, string, error) {
	root, err := os.OpenRoot(filepath.Dir(path))
	if err != nil {
		return nil, "", fmt.Errorf("%s: %w", path, cause(err))
	}
	info, err := root.Stat(".")
	if err == nil {
		if why := sharedDir(info); why != "" {
			err = fmt.Errorf("%w: its directory %s", ErrForeign, why)
		}
	}
	if err != nil {
		_ = root.Close()
		return nil, "", fmt.Errorf("%s: %w", path, err)
	}
	return root, filepath.Base(path), nil
}

// check reports why the file is not ours to read or replace.
func check(root *os.Root, name, path string) error {
	info, err := root.Lstat(name)
	if err != nil {
		return fmt.Errorf("%s: %w", path, cause(err))
	}
	return judge(info, path)
}

func judge(info fs.FileInfo, path string) error {
	var why string
	switch {
	case info.Mode()&fs.ModeSymlink != 0:
		why = "it is a symbolic link; name the file itself"
	case !info.Mode().IsRegular():
		why = "it is no regular file; choose another path"
	default:
		why = sharedFile(info)
	}
	if why == "" {
		return nil
	}
	return fmt.Errorf("%s: %w: %s", path, ErrForeign, why)
}

func read(root *os.Root, name, path string) ([]byte, error) {
	// Before the open, since opening a pipe or a device can do things; and after
	// it, since what was opened is what counts.
	if err := check(root, name, path); err != nil {
		return nil, err
	}
	f, err := root.OpenFile(name, os.O_RDONLY|openFlags, 0)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, cause(err))
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, cause(err))
	}
	if err := judge(info, path); err != nil {
		return nil, err
	}
	data, err := io.ReadAll(io.LimitReader(f, maxBytes))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, cause(err))
	}
	return data, nil // if it is cut off, its sum is wrong
}

func write(root *os.Root, name string, data []byte) (err error) {
	f, err := root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return err
	}
	defer func() {
		if e := f.Close(); err == nil {
			err = e
		}
	}()
	if err := f.Chmod(mode); err != nil && !errors.Is(err, errors.ErrUnsupported) { // whatever the umask
		return err
	}
	if _, err := f.Write(data); err != nil {
		return err
	}
	return f.Sync()
}

// cutSum parts data into what was written and its sum.
func cutSum(data []byte) (body []byte, sum string, ok bool) {
	data, ok = bytes.CutSuffix(data, []byte("\n"))
	i := bytes.LastIndexByte(data, '\n') + 1
	return data[:i], string(data[i:]), ok && i > 0
}

func sumOf(body []byte) string {
	sum := sha256.Sum256(body)
	return "sha256:" + hex.EncodeToString(sum[:])
}

// cause takes the path off an error of the file system, which is said already.
func cause(err error) error {
	if pe, ok := errors.AsType[*fs.PathError](err); ok {
		return pe.Err
	}
	if le, ok := errors.AsType[*os.LinkError](err); ok {
		return le.Err
	}
	return err
}
