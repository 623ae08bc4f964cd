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
	"github.com/tokenagent/tokenagent/internal/token"
	"github.com/tokenagent/tokenagent/pkg/reload"
)

// maxBytes bounds what is read of a file, or of all keys of a directory: the default of
// package reload.
const maxBytes = 4 << 20

// dataLink is the link in a mounted Secret that leads to the current version of its keys.
const dataLink = "..data"

// files are a file, or the keys of a directory, as they were when they were read.
type files struct {
	path  string            // as given
	file  string            // name of the file; "" for a directory
	root  string            // the directory, resolved
	data  string            // the directory that ..data leads to, or root
	names []string          // what was read; see content.Names
	keys  map[string][]byte // content by name; must not be modified

	source content.Source
}

func (o Options) openFiles(ctx context.Context, isDir bool) (Store, error) {
	read := readFile
	if isDir {
		read = func(ctx context.Context, path string) (*files, error) {
			return readDir(ctx, path, content.Names(o.Read.Kind))
		}
	}
	f, err := read(ctx, o.Path)
	if err != nil {
		return nil, err
	}
	o.Read.Name, o.Read.All = f.path, f.list()
	f.source, err = content.Parse(f.keys, f.file, o.Read)
	return f, err
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
	return &files{path: path, file: name, root: dir, data: dir, names: []string{name}, keys: map[string][]byte{name: c.Data}}, nil
}

// readDir reads the named keys of the directory at path, all of one version.
func readDir(ctx context.Context, path string, names []string) (*files, error) {
	c, err := reload.Dir(path, names...).Read(ctx, maxBytes)
	if err != nil {
		return nil, err
	}
	f := &files{path: path, names: names, keys: c.Keys}
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

func (f *files) Sources() []content.Source { return []content.Source{f.source} }

func (f *files) Warnings(writes [][]content.Write) [][]string {
	var out []string
	after := f.source.After(writes[0])
	if f.source.Kind == content.Tokens && content.IsOneToken(f.keys[f.file]) && !content.IsOneToken(after[f.file]) {
		out = append(out, "the file held only the token and now holds several lines; programs that take the whole file as the token can no longer read it: give them a directory")
	}
	if n := links(filepath.Join(f.data, f.file)); n > 1 && f.file != "" {
		out = append(out, fmt.Sprintf("the file has %d names (hard links), and only this one gets the new content; replace the others with symbolic links to it (ln -s)", n))
	}
	if text := content.WhiteSpace(after); text != "" && f.data != f.root { // a mounted Secret
		out = append(out, text)
	}
	return [][]string{out}
}

// Save returns [ErrChanged] if somebody else was faster. A file that is a symlink is
// replaced where the symlink leads.
func (f *files) Save(ctx context.Context, writes [][]content.Write) error {
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
	for _, w := range writes[0] {
		r := replacement{path: filepath.Join(f.data, w.Key), data: w.Value}
		r.like = r.path
		switch info, err := os.Lstat(r.path); {
		case errors.Is(err, fs.ErrNotExist):
			r.like = f.model(w.Key)
		case err == nil && !info.Mode().IsRegular():
			return fmt.Errorf("key %s is no regular file; replace what it leads to, or put a file there", w.Key)
		}
		changes = append(changes, r)
	}
	return replaceAll(ctx, changes, f.unchanged, f.link)
}

// unchanged returns [ErrChanged] unless the files are as they were read.
func (f *files) unchanged(ctx context.Context) error {
	read := readFile
	if f.file == "" {
		read = func(ctx context.Context, path string) (*files, error) { return readDir(ctx, path, f.names) }
	}
	now, err := read(ctx, f.path)
	if err != nil || f.root != now.root || f.data != now.data || !maps.EqualFunc(f.keys, now.keys, bytes.Equal) {
		return ErrChanged
	}
	return nil
}

// model returns the file whose mode and owner the new key gets: what the client sends, or
// what others send, or what receivers verify with.
func (f *files) model(key string) string {
	_, client, _ := strings.Cut(key, ".")
	like := token.FileName(token.FileCurrent, client)
	for _, name := range slices.Sorted(maps.Keys(f.keys)) {
		if f.keys[like] == nil && content.IsCurrent(name) {
			like = name
		}
	}
	return filepath.Join(f.data, like)
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
