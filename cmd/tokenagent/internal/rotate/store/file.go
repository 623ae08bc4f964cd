package store

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/rotate/content"
	"github.com/tokenagent/tokenagent/pkg/reload"
)

// A file is a file as it was when it was read.
type file struct {
	path string // as given
	text []byte
	real string // what symlinks lead to, which is what is replaced
	info fs.FileInfo
	c    content.Content
	o    content.Options
}

// readFile reads the file at path, through symlinks. Anything but a regular
// file is an error, and so is one of more than 4 MiB; neither hangs.
func readFile(ctx context.Context, path string) (*file, error) {
	f := &file{path: path}
	c, err := reload.File(path).Read(ctx, maxBytes)
	if err != nil {
		return nil, err
	}
	f.text = c.Data
	if f.real, err = filepath.EvalSymlinks(path); err != nil {
		return nil, err
	}
	f.info, err = os.Lstat(f.real)
	return f, err
}

func (f *file) Sources() []Source { return []Source{{Name: f.path, Content: f.c}} }

func (f *file) Prepare(want []content.Content) (func(context.Context) error, [][]string, error) {
	to, text, err := want[0], f.text, error(nil)
	switch {
	case to.Kind == content.Tokens:
		text, err = content.EditLines(text, to, f.o)
	case !to.Equal(f.c):
		text, err = content.EditSet(text, to, f.o)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", f.path, err)
	}
	var warnings []string
	if to.Kind == content.Tokens && content.Alone(f.text) && !content.Alone(text) {
		warnings = append(warnings, "the file held one token alone and now holds lines; programs that read it whole as the token no longer can: give those a directory")
	}
	if n := names(f.info); to.Kind == content.Tokens && n > 1 {
		warnings = append(warnings, fmt.Sprintf("the file has %d names (hard links), and a change is made under this one alone: the others keep the old content; make links to this name of them (ln -s)", n))
	}
	return func(ctx context.Context) error { return f.save(ctx, text) }, [][]string{warnings}, nil
}

// save makes text the content of the file, by a rename. Of a symlink, what it
// leads to is replaced, and of a file with several names (hard links) this one
// alone. On failure nothing is changed; the error is ErrChanged where somebody else
// was faster.
func (f *file) save(ctx context.Context, text []byte) error {
	unlock, err := lock(filepath.Dir(f.real))
	if err != nil {
		return err
	}
	defer unlock()
	if err := f.unchanged(ctx); err != nil {
		return err
	}
	sweep(f.real, f.info)
	r, err := prepare(f.real, text, f.real)
	if err != nil {
		return fmt.Errorf("writing a new file beside it: %w", explain(err))
	}
	defer r.discard()
	if err := f.unchanged(ctx); err != nil {
		return err
	}
	if err := r.commit(); err != nil {
		return fmt.Errorf("replacing it: %w", explain(err))
	}
	if err := syncDir(filepath.Dir(f.real)); err != nil {
		return fmt.Errorf("it is replaced, but may not survive a crash of the machine: %w", err)
	}
	return nil
}

// unchanged reports ErrChanged unless the file is the one that was read.
func (f *file) unchanged(ctx context.Context) error {
	g, err := readFile(ctx, f.path)
	if err != nil || f.real != g.real || !os.SameFile(f.info, g.info) || !bytes.Equal(f.text, g.text) ||
		f.info.Mode() != g.info.Mode() || !f.info.ModTime().Equal(g.info.ModTime()) {
		return ErrChanged
	}
	return nil
}
