package reload

import (
	"context"
	"errors"
	"os"
	"slices"
	"sync/atomic"
)

// Path returns a [File] or a [Dir], depending on what is at path at the first read
// that succeeds and finds at least one key if it is a directory. From then on, the
// other kind at the path is an error: a mount that failed must not turn one kind of
// configuration into the other.
func Path(path string, keys ...string) Source {
	abs := absolute(path)
	return &fileOrDir{file: file{given: path, path: abs}, dir: dir{given: path, path: abs, keys: slices.Clone(keys)}}
}

type fileOrDir struct {
	file file
	dir  dir
	kind atomic.Int32 // kindUnknown until the first success
}

const (
	kindUnknown int32 = iota
	kindFile
	kindDir
)

func (p *fileOrDir) String() string { return p.file.given }

func (p *fileOrDir) Read(_ context.Context, maxBytes int64) (Content, error) {
	c, _, err := p.readFiles(maxBytes)
	return c, err
}

func (p *fileOrDir) readFiles(maxBytes int64) (c Content, from origin, err error) {
	found := kindFile // also for a missing path: the error of a file says so
	info, statErr := os.Stat(p.file.path)
	if statErr == nil && info.IsDir() {
		found = kindDir
	}
	fixed := p.kind.Load()
	kind := fixed
	if fixed == kindUnknown {
		kind = found
	}
	if kind == kindDir {
		c, from, err = p.dir.readFiles(maxBytes)
	} else {
		c, from, err = p.file.readFiles(maxBytes)
	}
	switch {
	case err == nil && (kind == kindFile || len(c.Keys) > 0):
		p.kind.CompareAndSwap(kindUnknown, kind)
	case err != nil && fixed != kindUnknown && statErr == nil && found != fixed:
		err = otherKindError(p.file.given, fixed)
	}
	return c, from, err
}

var errOtherKind = errors.New("it has changed between a file and a directory")

func otherKindError(path string, fixed int32) error {
	e := &sourceError{path: path, cause: errOtherKind, fix: "it was a file when first read: put a file there, or restart"}
	if fixed == kindDir {
		e.fix = "it was a directory when first read: put a directory there, or restart"
	}
	return e
}
