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

	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/rotate/content"
	"github.com/tokenagent/tokenagent/pkg/reload"
)

// maxBytes bounds what is read of a file, or of all keys of a directory: the default of
// package reload.
const maxBytes = 4 << 20

// dataLink is the link in a mounted Secret that leads to the current version of its keys.
const dataLink = "..data"

// files are a file, or the keys of a directory, as they were when they were read.
type files struct {
	path  string // as given
	isDir bool
	root  string // the directory, resolved
	data  string // the directory that ..data leads to, or root
	names []string
	files map[string][]byte // content by name; must not be modified

	content content.Content
	options content.Options
}

// readFile reads the regular file at path, through symlinks.
func readFile(ctx context.Context, path string) (*files, error) {
	c, err := reload.File(path).Read(ctx, maxBytes)
	if err != nil {
		return nil, err
	}
	resolved, err := filepath.EvalSymlinks(path)
	if err != nil {
		return nil, err
	}
	dir, name := filepath.Dir(resolved), filepath.Base(resolved)
	return &files{path: path, root: dir, data: dir, names: []string{name}, files: map[string][]byte{name: c.Data}}, nil
}

// readDir reads the named keys of the directory at path, all of one version.
func readDir(ctx context.Context, path string, names []string) (*files, error) {
	c, err := reload.Dir(path, names...).Read(ctx, maxBytes)
	if err != nil {
		return nil, err
	}
	f := &files{path: path, isDir: true, names: names, files: c.Keys}
	if f.root, err = filepath.EvalSymlinks(path); err != nil {
		return nil, err
	}
	link := filepath.Join(f.root, dataLink)
	to, err := os.Readlink(link)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		f.data = f.root
	case err != nil:
		return nil, err
	case !strings.HasPrefix(to, "..") || filepath.Base(to) != to || to == ".." || to == dataLink:
		return nil, fmt.Errorf("%s does not lead to a directory beside it, and rotate changes only such directories; change it where it is created", link)
	default:
		f.data = filepath.Join(f.root, to)
	}
	return f, nil
}

// list returns the names of all keys in the directory, also those that tokenagent does
// not read.
func (f *files) list() (names []string) {
	entries, _ := os.ReadDir(f.data)
	for _, e := range entries {
		if !e.IsDir() && !strings.HasPrefix(e.Name(), "..") {
			names = append(names, e.Name())
		}
	}
	return names
}

func (f *files) Sources() []Source {
	return []Source{{Name: f.path, Content: f.content, OnePrevious: f.isDir}}
}

func (f *files) Prepare(to []content.Content) (func(context.Context) error, [][]string, error) {
	var edits []content.KeyEdit
	var warnings []string
	var err error
	if f.isDir {
		edits, err = f.editDir(to[0])
	} else {
		edits = make([]content.KeyEdit, 1)
		edits[0], warnings, err = f.editFile(to[0])
	}
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", f.path, err)
	}
	if f.data != f.root { // a mounted Secret
		if text := content.WhiteSpace(edits[len(edits)-1].Apply(f.files)); text != "" {
			warnings = append(warnings, text)
		}
	}
	return func(ctx context.Context) error { return f.save(ctx, edits...) }, [][]string{warnings}, nil
}

// editDir returns the edits to make one after the other. A previous token that becomes
// current again is staged first. Otherwise it would be in no key between the write of
// token-previous and that of token.
func (f *files) editDir(to content.Content) (edits []content.KeyEdit, err error) {
	keys, from := f.files, f.content
	if _, isPrevious := from.Superseded(to.Current); isPrevious && to.Current.ID() != from.Current.ID() {
		staged := from.Clone()
		staged.Next = []content.Credential{to.Current}
		edit, err := content.EditKeys(keys, from, staged, f.options)
		if err != nil {
			return nil, err
		}
		edits, keys, from = append(edits, edit), edit.Apply(keys), staged
	}
	edit, err := content.EditKeys(keys, from, to, f.options)
	return append(edits, edit), err
}

func (f *files) editFile(to content.Content) (edit content.KeyEdit, warnings []string, err error) {
	name := f.names[0]
	was := f.files[name]
	switch {
	case to.IsKeySet:
		text, err := content.EditSet(was, f.content, to, f.options)
		return content.KeyEdit{name: text}, nil, err
	case to.Kind == content.Keys: // no room for a second key
		return nil, nil, nil
	}
	text, err := content.EditLines(was, f.content, to, f.options)
	if content.IsOneToken(was) && !content.IsOneToken(text) {
		warnings = append(warnings, "the file held only the token and now holds several lines; programs that take the whole file as the token can no longer read it: give them a directory")
	}
	if n := links(filepath.Join(f.data, name)); n > 1 {
		warnings = append(warnings, fmt.Sprintf("the file has %d names (hard links), and only this one gets the new content; replace the others with symbolic links to it (ln -s)", n))
	}
	return content.KeyEdit{name: text}, warnings, err
}

// save makes the edits, or returns [ErrChanged] if somebody else was faster. A file that is
// a symlink is replaced where the symlink leads.
func (f *files) save(ctx context.Context, edits ...content.KeyEdit) error {
	unlock, err := lock(f.root)
	if err != nil {
		return explain(err)
	}
	defer unlock()
	if err := f.unchanged(ctx); err != nil {
		return err
	}
	removeLeftovers(f.data, f.names)
	var changes []replacement
	for _, edit := range edits {
		order := f.names
		if f.isDir {
			order = edit.Ordered()
		}
		for _, name := range order {
			r := replacement{path: filepath.Join(f.data, name), data: edit[name]}
			r.like = r.path
			switch info, err := os.Lstat(r.path); {
			case errors.Is(err, fs.ErrNotExist):
				r.like = f.model()
			case err == nil && !info.Mode().IsRegular():
				return fmt.Errorf("key %s is no regular file; replace what it leads to, or put a file there", name)
			}
			changes = append(changes, r)
		}
	}
	return replaceAll(ctx, changes, f.unchanged, f.link)
}

// unchanged returns [ErrChanged] unless the files are as they were read.
func (f *files) unchanged(ctx context.Context) error {
	read := readFile
	if f.isDir {
		read = func(ctx context.Context, path string) (*files, error) { return readDir(ctx, path, f.names) }
	}
	now, err := read(ctx, f.path)
	if err != nil || f.root != now.root || f.data != now.data || !maps.EqualFunc(f.files, now.files, bytes.Equal) {
		return ErrChanged
	}
	return nil
}

// model returns the file whose mode and owner new keys get: what senders send, or what
// receivers verify with.
func (f *files) model() string {
	i := slices.IndexFunc(currentNames(), func(key string) bool { return f.files[key] != nil })
	return filepath.Join(f.data, currentNames()[max(i, 0)])
}

// link completes the replacement r in a directory with a ..data, where each key has a
// link beside it.
func (f *files) link(r replacement) error {
	if f.data == f.root {
		return nil
	}
	key := filepath.Base(r.path)
	link := filepath.Join(f.root, key)
	info, err := os.Lstat(link)
	switch {
	case err != nil && r.data != nil:
		err = os.Symlink(filepath.Join(dataLink, key), link)
	case err == nil && r.data == nil && info.Mode()&fs.ModeSymlink != 0:
		err = os.Remove(link)
	default:
		return nil
	}
	return errors.Join(err, syncDir(f.root))
}
