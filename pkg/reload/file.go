package reload

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
)

// File returns the file at path as a source; symlinks are followed. A relative
// path is made absolute when File is called. A read fails if the path is anything
// but a regular file (ErrNotRegular), or holds only white space (ErrEmpty).
func File(path string) Source { return &file{given: path, path: absolute(path)} }

type file struct {
	given string // as the caller wrote it, for messages
	path  string // absolute
}

func (f *file) String() string { return f.given }

func (f *file) Read(_ context.Context, maxBytes int64) (Content, error) {
	c, _, err := f.readFiles(maxBytes)
	return c, err
}

// readFiles resolves the path before and after it reads, and starts over if the
// results differ. The kubelet removes the old directory about 2 ms after a swap, so
// an error in between says nothing about the new version.
func (f *file) readFiles(maxBytes int64) (Content, origin, error) {
	var from origin
	for range maxReadTries {
		before, err := resolve(f.path)
		var data []byte
		var info os.FileInfo
		if err == nil {
			data, info, err = readRegular(before.end, before.info, maxBytes)
		}
		after, _ := resolve(f.path)
		links := before.links()
		from = origin{steps: before.steps, links: links, files: map[string]sourceFile{"": {path: before.end, info: info, links: links}}}
		removed := before.info != nil && errors.Is(err, fs.ErrNotExist)
		if removed || !before.equal(after) || info != nil && !sameFile(info, after.info) {
			continue
		}
		switch {
		case err != nil:
			return Content{}, from, fileError(f.given, err)
		case isBlank(data):
			return Content{}, from, &sourceError{
				path: f.given, cause: ErrEmpty,
				fix: "write the content to a new file beside it and rename that over it",
			}
		}
		return Content{Data: data, Path: f.given}, from, nil
	}
	return Content{}, from, unsteadyError(f.given)
}

// readRegular reads the regular file at path, up to limit bytes. found is the
// result of lstat(2). The info returned is that of the open file; it is nil if the
// file was not opened.
func readRegular(path string, found os.FileInfo, limit int64) ([]byte, os.FileInfo, error) {
	// Check before the open as well: opening a device can have side effects.
	if err := checkRegular(path, found); err != nil {
		return nil, nil, err
	}
	f, err := os.OpenFile(path, os.O_RDONLY|openFlags, 0)
	if err != nil {
		return nil, nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, nil, err
	}
	if err := checkRegular(path, info); err != nil {
		return nil, info, err
	}
	// Read one byte more than allowed: the size by fstat(2) may be out of date.
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, info, err
	}
	if int64(len(data)) > limit {
		return nil, info, &fs.PathError{Op: "read", Path: path, Err: tooLargeError(limit)}
	}
	return data, info, nil
}

func tooLargeError(limit int64) error { return fmt.Errorf("%w: over %d bytes", ErrTooLarge, limit) }

func checkRegular(path string, info os.FileInfo) error {
	if info.Mode().IsRegular() {
		return nil
	}
	return &fs.PathError{Op: "read", Path: path, Err: fmt.Errorf("%w but %s", ErrNotRegular, fileKind(info.Mode()))}
}

func fileKind(m fs.FileMode) string {
	switch {
	case m.IsDir():
		return "a directory"
	case m&fs.ModeNamedPipe != 0:
		return "a named pipe"
	case m&fs.ModeSocket != 0:
		return "a socket"
	case m&fs.ModeDevice != 0:
		return "a device"
	default:
		return "something else"
	}
}

const byteOrderMark = "\ufeff"

// isBlank reports whether data is only white space, after an optional byte order
// mark.
func isBlank(data []byte) bool {
	return len(bytes.TrimSpace(bytes.TrimPrefix(data, []byte(byteOrderMark)))) == 0
}
