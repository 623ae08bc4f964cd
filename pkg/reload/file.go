package reload

import (
	"bytes"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"sync/atomic"
)

// File returns the file at path as a source; symlinks are followed. A relative
// path is made absolute when File is called. A read fails if the path is anything
// but a regular file (ErrNotRegular), or holds only white space (ErrEmpty).
func File(path string) Source { return newFile(path) }

func newFile(path string) *fileSource {
	abs := absolute(path)
	return &fileSource{path, func(maxBytes int64) reading {
		return readFile(path, abs, maxBytes)
	}}
}

// readFile reads the file at abs once. path is how the caller wrote it.
func readFile(path, abs string, maxBytes int64) (r reading) {
	var data []byte
	var info os.FileInfo
	resolved, err := resolve(abs)
	if err == nil {
		data, info, err = readRegular(resolved.end, resolved.info, maxBytes)
	}
	file := sourceFile{path: resolved.end, info: info, links: resolved.links()}
	r.origin = origin{steps: resolved.steps, files: map[string]sourceFile{"": file}}
	switch {
	case err != nil:
		r.err = fileError(path, err)
	case isBlank(data):
		r.err = fmt.Errorf("%s: %w; write the content to a new file beside it and rename that over it", path, ErrEmpty)
	default:
		r.content = Content{Data: data, Path: path}
	}
	return r
}

// Files returns several files as one source, each as with [File]. All of them must
// exist. The keys of [Content.Keys] are the paths as given. The limit of a read
// applies to each file.
//
// The files are read one after the other, so a read can return the new version of
// one file and the old version of another. Let the Step reject files that do not
// belong together. Use [Dir] for keys of one directory.
func Files(paths ...string) Source {
	sources := make([]*fileSource, len(paths))
	for i, path := range paths {
		sources[i] = newFile(path)
	}
	name := strings.Join(paths, ", ")
	return &fileSource{name, func(maxBytes int64) (all reading) {
		all.origin.files = make(map[string]sourceFile, len(sources))
		keys := make(map[string][]byte, len(sources))
		for _, s := range sources { // after an error too, so that each of them is watched
			r := s.read(maxBytes)
			if all.err == nil {
				all.err = r.err
			}
			keys[s.name] = r.content.Data
			all.origin.steps = append(all.origin.steps, r.origin.steps...)
			all.origin.files[s.name] = r.origin.files[""]
		}
		if all.err == nil {
			all.content = Content{Keys: keys, Path: name}
		}
		return all
	}}
}

// Path returns a [File] or a [Dir], depending on what is at path at the first read
// that succeeds and finds at least one key if it is a directory. From then on, the
// other kind at the path is an error: a mount that failed must not turn one kind of
// configuration into the other.
func Path(path string, keys ...string) Source {
	abs, file, dir := absolute(path), newFile(path), newDir(path, keys)
	var fixed atomic.Pointer[fileSource]
	return &fileSource{path, func(maxBytes int64) reading {
		source := fixed.Load()
		if source == nil {
			found := file // also for a missing path: the error of a file says so
			if info, err := os.Stat(abs); err == nil && info.IsDir() {
				found = dir
			}
			r := found.read(maxBytes)
			if r.err == nil && (found == file || len(r.content.Keys) > 0) {
				fixed.Store(found)
			}
			return r
		}
		r := source.read(maxBytes)
		if r.err == nil {
			return r
		}
		if info, err := os.Stat(abs); err == nil && info.IsDir() != (source == dir) {
			kind := "file"
			if source == dir {
				kind = "directory"
			}
			r.err = fmt.Errorf("%s: it has changed between a file and a directory; it was a %[2]s when first read: put a %[2]s there, or restart", path, kind)
		}
		return r
	}}
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
	if !os.SameFile(found, info) { // replaced, perhaps by a symlink
		return nil, info, errUnsteady
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

func checkRegular(path string, info os.FileInfo) error {
	kind := "something else"
	switch m := info.Mode(); {
	case m.IsRegular():
		return nil
	case m.IsDir():
		kind = "a directory"
	case m&fs.ModeNamedPipe != 0:
		kind = "a named pipe"
	case m&fs.ModeSocket != 0:
		kind = "a socket"
	case m&fs.ModeDevice != 0:
		kind = "a device"
	}
	return &fs.PathError{Op: "read", Path: path, Err: fmt.Errorf("%w but %s", ErrNotRegular, kind)}
}

const byteOrderMark = "\ufeff"

// isBlank reports whether data is only white space, after an optional byte order
// mark.
func isBlank(data []byte) bool {
	return len(bytes.TrimSpace(bytes.TrimPrefix(data, []byte(byteOrderMark)))) == 0
}
