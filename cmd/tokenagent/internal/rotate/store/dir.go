package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/rotate/content"
	"github.com/tokenagent/tokenagent/pkg/reload"
)

// A dir is a directory of keys as it was when it was read.
type dir struct {
	path  string            // as given
	keys  map[string][]byte // of those that were asked for; must not be modified
	names []string          // of those that were asked for
	real  string
	data  string // where the keys are: what ..data leads to, or real itself
	c     content.Content
	o     content.Options
}

// readDir reads the named keys of the directory at path, all of one version. A key
// that is no regular file is an error, and so are more than 4 MiB.
func readDir(ctx context.Context, path string, names []string) (*dir, error) {
	d := &dir{path: path, names: names}
	c, err := reload.Dir(path, names...).Read(ctx, maxBytes)
	if err != nil {
		return nil, err
	}
	d.keys = c.Keys
	if d.real, err = filepath.EvalSymlinks(path); err != nil {
		return nil, err
	}
	link := filepath.Join(d.real, dataLink)
	to, err := os.Readlink(link)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		d.data = d.real
	case err != nil:
		return nil, err
	case !strings.HasPrefix(to, "..") || filepath.Base(to) != to || to == ".." || to == dataLink:
		return nil, fmt.Errorf("%s leads to no directory beside it, and is not of the kind that is changed here; change it where it is made", link)
	default:
		d.data = filepath.Join(d.real, to)
	}
	return d, nil
}

// laidOut reports whether the directory has a ..data, as a mounted Secret does.
func (d *dir) laidOut() bool { return d.data != d.real }

// files returns the names of all files that stand there as keys, ours and others.
func (d *dir) files() (names []string) {
	entries, err := os.ReadDir(d.data)
	if err != nil {
		return slices.Sorted(maps.Keys(d.keys))
	}
	for _, e := range entries {
		if !e.IsDir() && !strings.HasPrefix(e.Name(), "..") {
			names = append(names, e.Name())
		}
	}
	return names
}

func (d *dir) Sources() []Source {
	return []Source{{Name: d.path, Content: d.c, OnePrevious: true}}
}

func (d *dir) Prepare(to []content.Content) (func(context.Context) error, [][]string, error) {
	edit, err := content.EditKeys(d.keys, to[0], d.o)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", d.path, err)
	}
	var warnings []string
	if text := content.WhiteSpace(edit.Apply(d.keys)); text != "" && d.laidOut() { // a mounted Secret
		warnings = append(warnings, text)
	}
	return func(ctx context.Context) error { return d.save(ctx, edit) }, [][]string{warnings}, nil
}

// removalPause is how long save waits before it removes the first key. An agent
// takes a new file over after a few milliseconds, but once a key is gone it waits for
// its whole debounce. The pause lets it read what was written first, such as a
// revocation, while all keys are still there.
const removalPause = 50 * time.Millisecond

// save replaces the keys of edit one by one, each by a rename, in the order of
// [content.KeyEdit.Ordered], and pauses before it removes the first one. All new files are made first, so that what cannot be
// written is refused before anything changes. A new key has the mode and owner of
// the current token or key; every other one keeps its own.
//
// The error is ErrChanged where somebody else was faster.
func (d *dir) save(ctx context.Context, edit content.KeyEdit) error {
	unlock, err := lock(d.real)
	if err != nil {
		return err
	}
	defer unlock()
	if err := d.unchanged(ctx); err != nil {
		return err
	}
	d.sweep()
	var changes []replacement
	defer func() {
		for _, r := range changes {
			r.discard()
		}
	}()
	for _, key := range edit.Ordered() {
		r, err := d.prepareKey(key, edit[key])
		if err != nil {
			return fmt.Errorf("writing the new keys: %w", explain(err))
		}
		changes = append(changes, r)
	}
	if err := d.unchanged(ctx); err != nil {
		return err
	}
	paused := false
	for i, r := range changes {
		if r.temp == "" && i > 0 && !paused {
			paused = true
			pause(ctx, removalPause)
		}
		replaced, err := d.replaceKey(r)
		if replaced {
			i++
		}
		if err != nil {
			return fmt.Errorf("%d of %d keys are replaced; do the step again: %w", i, len(changes), explain(err))
		}
	}
	return nil
}

// sweep removes the new files that killed rotations have left of any key, be it one
// that is not there any more.
func (d *dir) sweep() {
	for _, key := range content.Names() {
		path := filepath.Join(d.data, key)
		info, err := os.Lstat(path)
		if err != nil {
			like, e := d.like()
			if e != nil {
				return
			}
			info, err = os.Lstat(like)
		}
		if err == nil {
			sweep(path, info)
		}
	}
}

// pause returns after wait, or when ctx ends.
func pause(ctx context.Context, wait time.Duration) {
	t := time.NewTimer(wait)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// prepareKey makes the file that is to replace key; value nil means that the key goes.
func (d *dir) prepareKey(key string, value []byte) (replacement, error) {
	path := filepath.Join(d.data, key)
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist) && value == nil:
		return replacement{path: path}, nil
	case errors.Is(err, fs.ErrNotExist):
		like, err := d.like()
		if err != nil {
			return replacement{}, err
		}
		return prepare(path, value, like)
	case err != nil:
		return replacement{}, err
	case !info.Mode().IsRegular():
		return replacement{}, fmt.Errorf("key %s is no regular file; replace what it leads to, or put a file there", key)
	}
	return prepare(path, value, path)
}

// replaceKey puts the new file in the place of the key, and reports whether it did,
// even where it fails later. In a directory with ..data each key has a link beside it.
func (d *dir) replaceKey(r replacement) (replaced bool, err error) {
	key := filepath.Base(r.path)
	link := filepath.Join(d.real, key)
	if err := r.commit(); err != nil {
		return false, err
	}
	if err := syncDir(d.data); err != nil || !d.laidOut() {
		return true, err
	}
	switch info, e := os.Lstat(link); {
	case e != nil && r.temp != "":
		err = os.Symlink(filepath.Join(dataLink, key), link)
	case e == nil && r.temp == "" && info.Mode()&fs.ModeSymlink != 0:
		err = os.Remove(link)
	}
	if err != nil {
		return true, err
	}
	return true, syncDir(d.real)
}

// unchanged reports ErrChanged unless the directory is as it was read.
func (d *dir) unchanged(ctx context.Context) error {
	e, err := readDir(ctx, d.path, d.names)
	if err != nil || d.real != e.real || d.data != e.data || !maps.EqualFunc(d.keys, e.keys, bytes.Equal) {
		return ErrChanged
	}
	return nil
}

// like returns the file that new keys are to be like: what senders send, or what
// receivers verify by.
func (d *dir) like() (string, error) {
	for _, key := range append(currentNames(), slices.Sorted(maps.Keys(d.keys))...) { // a broken source may have others alone
		if _, ours := d.keys[key]; ours {
			return filepath.Join(d.data, key), nil
		}
	}
	return "", fmt.Errorf("%s has none of %s", d.path, strings.Join(currentNames(), ", "))
}
