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

// File is the content of the file at path, through symlinks. A relative path
// is taken from the working directory of now. Anything but a regular file, and
// a file with nothing but white space in it, is an error.
func File(path string) Source { return &file{given: path, path: absolute(path)} }

type file struct {
	given string // as the user wrote it, for texts
	path  string // absolute
}

func (f *file) String() string { return f.given }

func (f *file) Read(_ context.Context, maxBytes int64) (Content, error) {
	c, _, err := f.track(maxBytes)
	return c, err
}

func (f *file) track(maxBytes int64) (Content, evidence, error) {
	seen, _ := os.Stat(f.path) // retrace says what is wrong
	return f.trackSeen(seen, maxBytes)
}

// trackSeen is track where it is known what stands at path, nil for nothing.
func (f *file) trackSeen(seen os.FileInfo, maxBytes int64) (Content, evidence, error) {
	if seen != nil {
		if c, ev, ok := f.atOnce(seen, maxBytes); ok {
			return c, ev, nil
		}
	}
	return f.retrace(maxBytes)
}

// atOnce reads the file that was seen at path and follows the way to it after that.
// Where the way leads to the very file that was read, nothing more is to be asked:
// this is nearly always so, and half the work.
func (f *file) atOnce(seen os.FileInfo, maxBytes int64) (c Content, ev evidence, ok bool) {
	open, err := openRegular(f.path, seen)
	if err != nil {
		return c, ev, false
	}
	// Not before the way has been followed: once it is closed and removed, its inode
	// number may be another file's.
	defer open.Close()
	data, info, err := readOpen(f.path, open, maxBytes)
	if err != nil || blank(data) {
		return c, ev, false
	}
	t, err := walk(f.path)
	if err != nil || !sameFile(info, t.info) {
		return c, ev, false
	}
	return Content{Data: data, Path: f.given}, t.evidence(info), true
}

// retrace follows the way before and after it reads, and says what is wrong.
func (f *file) retrace(maxBytes int64) (Content, evidence, error) {
	var ev evidence
	for range readTries {
		before, err := walk(f.path)
		var data []byte
		var info os.FileInfo
		if err == nil {
			data, info, err = readRegular(before.end, before.info, maxBytes)
		}
		// The directory that the way led through may be gone by now, as the
		// kubelet's is 2 ms after a swap. What was found there then, even an
		// error, says nothing.
		after, _ := walk(f.path)
		ev = before.evidence(info)
		vanished := before.info != nil && errors.Is(err, fs.ErrNotExist)
		if vanished || !before.same(after) || info != nil && !sameFile(info, after.info) {
			continue
		}
		switch {
		case err != nil:
			err = unreadable(f.given, err)
		case blank(data):
			err = &fault{
				path: f.given, cause: ErrEmpty,
				mend: "write the content to a new file beside it and rename that over it",
			}
		default:
			return Content{Data: data, Path: f.given}, ev, nil
		}
		return Content{}, ev, err
	}
	return Content{}, ev, unsteady(f.given)
}

var errUnsteady = errors.New("it changes faster than it can be read")

func unsteady(path string) error {
	return &fault{path: path, cause: errUnsteady, mend: "it is tried again"}
}

// readRegular reads the file at path, which a walk found to be seen, up to
// limit bytes. The info it returns is that of the open file; it is nil if none
// was opened.
func readRegular(path string, seen os.FileInfo, limit int64) ([]byte, os.FileInfo, error) {
	f, err := openRegular(path, seen)
	if err != nil {
		return nil, nil, err
	}
	defer f.Close()
	return readOpen(path, f, limit)
}

// openRegular opens the file at path, which was seen there.
func openRegular(path string, seen os.FileInfo) (*os.File, error) {
	// Before the open as well: opening a device or a tape can do things.
	if err := regular(path, seen); err != nil {
		return nil, err
	}
	return os.OpenFile(path, os.O_RDONLY|openFlags, 0)
}

// readOpen is readRegular of a file that is open.
func readOpen(path string, f *os.File, limit int64) ([]byte, os.FileInfo, error) {
	info, err := f.Stat()
	if err != nil {
		return nil, nil, err
	}
	if err := regular(path, info); err != nil {
		return nil, info, err
	}
	// One byte more than allowed tells too large from just fitting; the size
	// that fstat tells may be out of date when we read.
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, info, err
	}
	if int64(len(data)) > limit {
		return nil, info, &fs.PathError{Op: "read", Path: path, Err: tooLarge(limit)}
	}
	return data, info, nil
}

func tooLarge(limit int64) error { return fmt.Errorf("%w: over %d bytes", ErrTooLarge, limit) }

func regular(path string, info os.FileInfo) error {
	if info.Mode().IsRegular() {
		return nil
	}
	return &fs.PathError{Op: "read", Path: path, Err: fmt.Errorf("%w but %s", ErrNotRegular, kindOf(info.Mode()))}
}

func kindOf(m fs.FileMode) string {
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

// blank reports whether there is nothing but white space and a byte order mark.
func blank(data []byte) bool {
	return len(bytes.TrimSpace(bytes.TrimPrefix(data, []byte(byteOrderMark)))) == 0
}
