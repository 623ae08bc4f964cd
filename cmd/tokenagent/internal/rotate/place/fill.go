package place

import (
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
)

// fill makes a new directory beside ..data with what is in from (the names
// alone, where there are any) and edit made. It returns the directory's name.
func (d *Dir) fill(from string, names []string, edit content.KeyEdit) (stamp string, err error) {
	root, err := os.Stat(d.real)
	if err != nil {
		return "", err
	}
	like, err := d.like(from)
	if err != nil {
		return "", err
	}
	path, err := os.MkdirTemp(d.real, time.Now().UTC().Format(stampLayout))
	if err != nil {
		return "", err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.RemoveAll(path))
		}
	}()
	if err := ownPath(path, root); err != nil {
		return "", err
	}
	// MkdirTemp makes it 0700; who could read the keys before must still.
	if err := os.Chmod(path, root.Mode().Perm()); err != nil {
		return "", err
	}
	if err := sameAccessPath(path, d.real); err != nil {
		return "", err
	}
	entries, err := os.ReadDir(from)
	if err != nil {
		return "", err
	}
	for _, e := range entries {
		name := e.Name()
		if _, edited := edit[name]; edited || names != nil && !slices.Contains(names, name) {
			continue
		}
		if err := keep(filepath.Join(from, name), filepath.Join(path, name), e); err != nil {
			return "", err
		}
	}
	for key, data := range edit {
		if data == nil {
			continue
		}
		old, as := filepath.Join(from, like.Name()), like
		if was, err := os.Stat(filepath.Join(from, key)); err == nil {
			old, as = filepath.Join(from, key), was
		}
		if err := create(filepath.Join(path, key), data, old, as); err != nil {
			return "", err
		}
	}
	return filepath.Base(path), syncDir(path)
}

// like returns the file in from that new keys are to be like: what senders send,
// or what receivers verify by.
func (d *Dir) like(from string) (fs.FileInfo, error) {
	for _, key := range currentNames() {
		if _, ours := d.Keys[key]; ours {
			return os.Stat(filepath.Join(from, key))
		}
	}
	if keys := slices.Sorted(maps.Keys(d.Keys)); len(keys) > 0 { // of a source that is broken
		return os.Stat(filepath.Join(from, keys[0]))
	}
	return nil, fmt.Errorf("%s has none of %s", d.Path, strings.Join(currentNames(), ", "))
}

// keep gives a file a second name, so that it stays what it is, owner and mode
// and all. Where the file system knows no second names, it is copied.
func keep(from, to string, e fs.DirEntry) error {
	if e.IsDir() {
		return fmt.Errorf("%s is a directory, which is no key; move it elsewhere", from)
	}
	linked := os.Link(from, to)
	if linked == nil {
		return nil
	}
	info, err := os.Lstat(from)
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return linked
	}
	data, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return create(to, data, from, info)
}

// sameAccessPath is sameAccess for a directory that we have just made.
func sameAccessPath(path, old string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	return sameAccess(f, old)
}
