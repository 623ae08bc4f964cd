package reload

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// Faults of a source that callers may want to tell apart, with errors.Is. A
// path that does not exist is fs.ErrNotExist, one that may not be read is
// fs.ErrPermission.
var (
	ErrEmpty      = errors.New("nothing in it")
	ErrTooLarge   = errors.New("too large")
	ErrNotRegular = errors.New("not a regular file")
)

// Content is what one read of a source gave: Data for a single value, Keys for
// a directory. It must not be modified.
type Content struct {
	Data []byte            `json:"-"` // of File, Env and EnvFile; nil for Dir
	Keys map[string][]byte `json:"-"` // of Dir: the keys asked for that exist; nil otherwise
	Path string            // what was read, for error texts

	// Partial says that keys are missing because they could not be read. A Step
	// must reject such content; what it returns beside its error is published.
	Partial bool
}

// Format writes a text that shows nothing of what was read, for every verb and
// flag; encoding/json and log/slog leave it out as well.
func (c Content) Format(f fmt.State, _ rune) {
	if c.Keys != nil {
		_, _ = fmt.Fprintf(f, "content(%d keys)", len(c.Keys))
		return
	}
	_, _ = fmt.Fprintf(f, "content(%d bytes)", len(c.Data))
}

// A Source is something that can be read again and again. [File], [Files], [Dir],
// [Path], [Env] and [EnvFile] make the ones that are also watched; any other
// implementation is polled, and also read when it says so where it has a method
// Changed() <-chan struct{}, a channel with a buffer of one that is never closed.
type Source interface {
	// Read returns the content as it is now, or an error that names the
	// source, the fault and the mend and quotes no content. Content over
	// maxBytes is ErrTooLarge.
	Read(ctx context.Context, maxBytes int64) (Content, error)
}

// A tracked source also tells how it came by its content, which is what a
// Value watches and weighs. Evidence comes beside an error as well: a path that
// does not exist yet is watched where it will appear.
type tracked interface {
	Source
	track(maxBytes int64) (Content, evidence, error)
}

// A waking source says when it is worth reading before the next poll. What the
// channel delivers means "read again" and nothing more, as an event of the file
// system does: one that comes for nothing costs a read, one that is missed is
// made up for by the poll. The channel is always the same one and never closed,
// and whoever sends on it must not block: it takes a buffer of one.
type waking interface{ Changed() <-chan struct{} }

// A static source cannot change from outside the process.
type static interface{ static() }

// Evidence is how one read found its files.
type evidence struct {
	hops  []hop           // every name looked up, for watching
	way   []link          // symlinks that everything in the content came through
	spots map[string]spot // where each key's bytes came from; File has the one key ""
}

// A spot is where the bytes of one key stood.
type spot struct {
	path string      // free of symlinks
	info os.FileInfo // of the file that was open while reading
	way  []link      // all symlinks on the way to it
}

// readTries bounds how often a read starts over because its path led elsewhere
// at its end than at its beginning. One retry is what a swap costs; a hundred
// in a row, some 10 ms, means that somebody swaps in a loop.
const readTries = 100

// absolute anchors a path to the working directory of now, so that a later
// chdir does not move the source. Unlike filepath.Abs it leaves ".." alone:
// after a symlink only the walk knows what that means.
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

// unreadable words a fault of the file system: which path, the cause, the mend.
func unreadable(path string, err error) error {
	f := &fault{path: path, cause: err}
	if pe, ok := errors.AsType[*fs.PathError](err); ok {
		f.cause = pe.Err
		if pe.Path != "" && filepath.Clean(pe.Path) != filepath.Clean(absolute(path)) {
			f.at = pe.Path
		}
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		f.mend = "create it, or correct the path"
	case errors.Is(err, fs.ErrPermission):
		f.mend = "let this process read it (in Kubernetes by fsGroup, or a wider defaultMode)"
	}
	return f
}

// A fault is an error of a source in the one form that all have: the place, the
// cause, the mend. The place stands first, and no package before it, since it
// is for operators.
type fault struct {
	path  string
	at    string // where it went wrong, if that is another path
	cause error
	mend  string
}

func (f *fault) Error() string {
	s := f.path + ": "
	if f.at != "" {
		s += f.at + ": "
	}
	s += f.cause.Error()
	if f.mend != "" {
		s += "; " + f.mend
	}
	return s
}

func (f *fault) Unwrap() error { return f.cause }
