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
)

// What can be wrong with a file, for errors.Is. One that is not there is
// fs.ErrNotExist.
var (
	ErrForeign = errors.New("not a private file of our own")
	ErrDamaged = errors.New("damaged")
)

// maxBytes bounds what is read: thousands of credentials.
const maxBytes = 1 << 20

// mode is what the file has, exactly.
const mode fs.FileMode = 0o600

// Load returns the payload that Store wrote to path.
func Load(path string) ([]byte, error) {
	root, name, err := open(path)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	data, err := read(root, name, path)
	if err != nil {
		return nil, err
	}
	// The last line is the sum of all before it.
	body, sum, ok := cutSum(data)
	if want := sumOf(body); !ok || sum != want {
		return nil, fmt.Errorf("%s: %w: its checksum does not match; it is replaced at the next change", path, ErrDamaged)
	}
	return body, nil
}

// Store writes payload to path in one step: whoever reads it, after a crash too,
// finds the old or the new one whole. It creates the file's directory if that is
// not there, with mode 0700, but none above it.
func Store(path string, payload []byte) error {
	dir := filepath.Dir(path)
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%s: its directory cannot be made: %w", path, cause(err))
	}
	root, name, err := open(path)
	if err != nil {
		return err
	}
	defer root.Close()
	if err := check(root, name, path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	body := append(bytes.TrimRight(payload, "\n"), '\n')
	temp := name + "." + rand.Text() + ".tmp"
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
	data, err := io.ReadAll(io.LimitReader(f, maxBytes+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("%s: %w", path, cause(err))
	case len(data) > maxBytes:
		return nil, fmt.Errorf("%s: %w: it is over %d bytes; it is replaced at the next change", path, ErrDamaged, maxBytes)
	}
	return data, nil
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
