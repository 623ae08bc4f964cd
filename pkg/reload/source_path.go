package reload

import (
	"context"
	"errors"
	"os"
	"sync/atomic"
)

// Path is [File] or [Dir], whichever is at path when it is first read with
// success. From then on the other kind there is an error: a mount that failed
// must not turn one kind of configuration into another.
func Path(path string, keys ...string) Source {
	return &either{file: File(path).(*file), dir: Dir(path, keys...).(*dir)}
}

type either struct {
	file *file
	dir  *dir
	kind atomic.Int32 // kindUnknown until the first success
}

const (
	kindUnknown int32 = iota
	kindFile
	kindDir
)

func (e *either) String() string { return e.file.given }

func (e *either) Read(_ context.Context, maxBytes int64) (Content, error) {
	c, _, err := e.track(maxBytes)
	return c, err
}

func (e *either) track(maxBytes int64) (Content, evidence, error) {
	fixed := e.kind.Load()
	there := kindFile // also for what does not exist: then a file's error tells so
	info, statErr := os.Stat(e.file.path)
	if statErr == nil && info.IsDir() {
		there = kindDir
	}
	use := fixed
	if fixed == kindUnknown {
		use = there
	}
	var c Content
	var ev evidence
	var err error
	if use == kindDir {
		c, ev, err = e.dir.track(maxBytes)
	} else {
		c, ev, err = e.file.trackSeen(info, maxBytes)
	}
	switch {
	case err == nil && (use == kindFile || len(c.Keys) > 0): // an empty directory is no content yet
		e.kind.CompareAndSwap(kindUnknown, use)
	case err != nil && fixed != kindUnknown && statErr == nil && there != fixed:
		err = otherKind(e.file.given, fixed)
	}
	return c, ev, err
}

var errOtherKind = errors.New("it is of the other kind now")

func otherKind(path string, fixed int32) error {
	mend := "it was a file when first read: put a file there, or restart"
	if fixed == kindDir {
		mend = "it was a directory when first read: put a directory there, or restart"
	}
	return &fault{path: path, cause: errOtherKind, mend: mend}
}
