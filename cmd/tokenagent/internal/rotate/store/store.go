// Package store reads and writes the source of a rotation: a file, a directory, or
// Kubernetes Secrets on their way from kubectl to kubectl. At every moment of a write,
// readers accept the old and the new token. Files keep their mode and owner, and what
// somebody else has changed meanwhile is not overwritten.
package store

import (
	"context"
	"io"

	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/rotate/content"
)

// A Store is a file, a directory, or Secrets on standard input, as they were when [Open]
// read them.
type Store interface {
	// Sources are the file, the directory, or each Secret of a List.
	Sources() []content.Source
	// Warnings says, for each source, what the writes would break and what may undo them.
	Warnings(writes [][]content.Write) [][]string
	// Save makes writes[i] in Sources()[i]. Call it once.
	Save(ctx context.Context, writes [][]content.Write) error
}

// Options say what to open.
type Options struct {
	Path           string // "" means Secrets on standard input
	Change         bool   // the source is to be changed
	Read           content.Options
	Stdin          io.Reader
	Stdout, Stderr io.Writer
}

// Open reads the source.
func Open(ctx context.Context, o Options) (Store, error) {
	if o.Path == "" {
		return o.openSecrets(ctx)
	}
	info, err := stat(o.Path)
	if err == nil && o.Change {
		err = changeable(o.Path, info.IsDir())
	}
	if err != nil {
		return nil, err
	}
	return o.openFiles(ctx, info.IsDir())
}
