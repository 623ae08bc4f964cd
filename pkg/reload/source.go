package reload

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"time"
)

// Errors of a source, for [errors.Is]. A missing path is [fs.ErrNotExist], an
// unreadable one [fs.ErrPermission].
var (
	ErrEmpty      = errors.New("nothing in it")
	ErrTooLarge   = errors.New("too large")
	ErrNotRegular = errors.New("not a regular file")
)

// Content is the result of one read of a source. Do not modify it. It formats
// without showing any of the bytes read.
type Content struct {
	// Data is the content of a File, Env or EnvFile; nil for Dir and Files.
	Data []byte `json:"-"`

	// Keys is the content of a Dir by key, or of Files by path: only what exists.
	// It is nil for the other sources.
	Keys map[string][]byte `json:"-"`

	// Path names the source in error messages.
	Path string

	// Partial reports that some keys of a Dir exist but could not be read. A Step
	// must return an error for partial content. It may return a state beside the
	// error; see Step.
	Partial bool
}

// Format implements [fmt.Formatter]: it writes the number of keys or bytes, for
// every verb and flag.
func (c Content) Format(f fmt.State, _ rune) {
	if c.Keys != nil {
		_, _ = fmt.Fprintf(f, "content(%d keys)", len(c.Keys))
		return
	}
	_, _ = fmt.Fprintf(f, "content(%d bytes)", len(c.Data))
}

// A Source can be read repeatedly. [File], [Files], [Dir], [Path] and [EnvFile]
// return sources that a [Value] watches for file system events. Any other
// implementation is polled. If it has a method
//
//	Changed() <-chan struct{}
//
// it is also read whenever that channel delivers. The method must always return
// the same channel; give it a buffer of one, send without blocking, and never
// close it. A missed send only delays the read until the next poll.
type Source interface {
	// Read returns the current content, of at most maxBytes. More is an error that
	// wraps ErrTooLarge. An error names the source, the cause and the fix, and
	// quotes no content. A Value never calls Read concurrently.
	Read(ctx context.Context, maxBytes int64) (Content, error)
}

// A fileSource is a Source of files, whose changes cause file system events.
type fileSource struct {
	name string                       // the path as the caller wrote it, for messages
	read func(maxBytes int64) reading // once; see confirm
}

func (s *fileSource) String() string { return s.name }

func (s *fileSource) Read(_ context.Context, maxBytes int64) (Content, error) {
	r := s.confirm(s.read(maxBytes), maxBytes)
	return r.content, r.err
}

// A reading is the result of one read of a source.
type reading struct {
	began   time.Time
	content Content
	origin  origin // valid beside an error too: a missing path is watched where it will appear
	err     error
	sums    map[string]checksum // by key; a single value has the key ""
}

// An origin says where one read found its content.
type origin struct {
	steps []pathStep            // every name that was looked up, for watching
	files map[string]sourceFile // by key; a single file has the key ""
	links []symlink             // the symlinks on the way to a key that is missing
}

// linksOf returns the symlinks on the way to the key.
func (o *origin) linksOf(key string) []symlink {
	if f, ok := o.files[key]; ok {
		return f.links
	}
	return o.links
}

// A sourceFile is the file that holds the content of one key.
type sourceFile struct {
	path  string      // without symlinks
	info  os.FileInfo // of the open file; nil if it was not opened
	links []symlink   // the symlinks on the way to it
}

var errUnsteady = errors.New("it changes faster than it can be read")

// confirm reads again, after the reading last, until two readings in a row agree.
// Otherwise a swap during a read could mix the keys of two versions, or make a file seem
// missing: the kubelet removes the old directory about 2 ms after a swap. One swap costs
// one more reading; a hundred in a row mean that a program swaps in a loop.
func (s *fileSource) confirm(last reading, maxBytes int64) reading {
	for range 100 {
		r := s.read(maxBytes)
		if r.agrees(&last) {
			return r
		}
		last = r
	}
	return reading{origin: last.origin, err: unsteadyError(s.name)}
}

// agrees reports whether two readings found the same files, keys and error.
func (r *reading) agrees(last *reading) bool {
	if r.err != nil || last.err != nil {
		if r.err == nil || last.err == nil || r.err.Error() != last.err.Error() || errors.Is(r.err, errUnsteady) {
			return false
		}
	}
	return sameSteps(r.origin.steps, last.origin.steps) && maps.EqualFunc(r.content.Keys, last.content.Keys, bytes.Equal)
}

func unsteadyError(path string) error {
	return fmt.Errorf("%s: %w; replace it less often; the next poll reads it again", path, errUnsteady)
}

// fileError returns the error of a source in the form "path: cause; fix". It has no
// package prefix because operators read it.
func fileError(path string, err error) error {
	if pe, ok := errors.AsType[*fs.PathError](err); ok {
		err = pe.Err
		if pe.Path != "" && filepath.Clean(pe.Path) != filepath.Clean(absolute(path)) {
			err = fmt.Errorf("%s: %w", pe.Path, pe.Err)
		}
	}
	fix := ""
	switch {
	case errors.Is(err, fs.ErrNotExist):
		fix = "; create it, or correct the path"
	case errors.Is(err, fs.ErrPermission):
		fix = "; let this process read it (in Kubernetes by fsGroup, or a wider defaultMode)"
	}
	return fmt.Errorf("%s: %w%s", path, err, fix)
}

func tooLargeError(limit int64) error { return fmt.Errorf("%w: over %d bytes", ErrTooLarge, limit) }

// absolute makes a path absolute, so that a later chdir does not change the
// source. Unlike filepath.Abs it keeps "..": after a symlink, ".." is the parent of
// the link's target (path_resolution(7)).
func absolute(path string) string {
	if filepath.IsAbs(path) {
		return path
	}
	wd, err := os.Getwd()
	if err != nil {
		return path
	}
	return wd + string(filepath.Separator) + path
}
