package place

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/tokenagent/tokenagent/pkg/reload"
)

// A File is a file as it was when it was read.
type File struct {
	Path string // as given
	Text []byte

	real string // what symlinks lead to, which is what is replaced
	info fs.FileInfo
}

// ReadFile reads the file at path, through symlinks. Anything but a regular
// file is an error, and so is one of more than 4 MiB; neither hangs.
func ReadFile(ctx context.Context, path string) (*File, error) {
	f := &File{Path: path}
	c, err := reload.File(path).Read(ctx, maxBytes)
	if err != nil {
		return nil, err
	}
	f.Text = c.Data
	if f.real, err = filepath.EvalSymlinks(path); err != nil {
		return nil, err
	}
	f.info, err = os.Lstat(f.real)
	return f, err
}

// Replace makes text the content of the file, in one step: a new file beside it
// is renamed over it. It keeps mode and owner. Of a symlink, what it leads to
// is replaced, and of a file with several names (hard links) this one alone. On
// failure nothing is changed; the error is ErrChanged where somebody else was
// faster.
func (f *File) Replace(ctx context.Context, text []byte) error {
	dir := filepath.Dir(f.real)
	unlock, err := lock(dir)
	if err != nil {
		return err
	}
	defer unlock()
	if err := f.unchanged(ctx); err != nil {
		return err
	}
	f.sweep(dir)
	temp := filepath.Join(dir, "."+filepath.Base(f.real)+tempMark+rand.Text())
	if err := create(temp, text, f.real, f.info); err != nil {
		return fmt.Errorf("writing a new file beside it: %w", explain(err))
	}
	if err := f.unchanged(ctx); err != nil {
		return errors.Join(err, os.Remove(temp))
	}
	if err := os.Rename(temp, f.real); err != nil {
		return errors.Join(fmt.Errorf("replacing it: %w", explain(err)), os.Remove(temp))
	}
	if err := syncDir(dir); err != nil {
		return fmt.Errorf("it is replaced, but may not survive a crash of the machine: %w", err)
	}
	return nil
}

// Names returns how many names the file has (hard links).
func (f *File) Names() int { return names(f.info) }

// unchanged reports ErrChanged unless the file is the one that was read.
func (f *File) unchanged(ctx context.Context) error {
	g, err := ReadFile(ctx, f.Path)
	if err != nil || f.real != g.real || !os.SameFile(f.info, g.info) || !bytes.Equal(f.Text, g.Text) ||
		f.info.Mode() != g.info.Mode() || !f.info.ModTime().Equal(g.info.ModTime()) {
		return ErrChanged
	}
	return nil
}
