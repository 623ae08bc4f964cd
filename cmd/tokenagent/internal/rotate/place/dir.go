package place

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

// stampLayout begins the names of directories that ..data leads to, as the
// kubelet names them.
const stampLayout = "..2006_01_02_15_04_05."

// A Dir is a directory of keys as it was when it was read.
type Dir struct {
	Path string            // as given
	Keys map[string][]byte // of those that were asked for; must not be modified

	names []string
	real  string
	stamp string // what ..data leads to; "" in a plain directory
}

// ReadDir reads the named keys of the directory at path, all of one version; no
// names mean all of content.Names. A key that is no regular file is an error, and
// so are more than 4 MiB.
func ReadDir(ctx context.Context, path string, names ...string) (*Dir, error) {
	if len(names) == 0 {
		names = content.Names()
	}
	d := &Dir{Path: path, names: names}
	c, err := reload.Dir(path, names...).Read(ctx, maxBytes)
	if err != nil {
		return nil, err
	}
	d.Keys = c.Keys
	if d.real, err = filepath.EvalSymlinks(path); err != nil {
		return nil, err
	}
	d.stamp, err = readStamp(d.real)
	return d, err
}

// LaidOut reports whether the directory has a ..data, as a mounted Secret does.
func (d *Dir) LaidOut() bool { return d.stamp != "" }

// Names returns the names of all files that stand there as keys, those that were
// asked for and others, sorted.
func (d *Dir) Names() (names []string) {
	entries, err := os.ReadDir(filepath.Join(d.real, d.stamp))
	if err != nil {
		return slices.Sorted(maps.Keys(d.Keys))
	}
	for _, e := range entries {
		if !e.IsDir() && !strings.HasPrefix(e.Name(), "..") {
			names = append(names, e.Name())
		}
	}
	return names
}

// readStamp returns the name that ..data in dir leads to, "" if there is none.
func readStamp(dir string) (string, error) {
	to, err := os.Readlink(filepath.Join(dir, dataLink))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "", nil
	case err != nil:
		return "", err
	case !strings.HasPrefix(to, "..") || filepath.Base(to) != to || to == ".." || to == dataLink:
		return "", fmt.Errorf("%s leads to no directory beside it, and is not of the kind that is replaced here; change it where it is made", filepath.Join(dir, dataLink))
	}
	return to, nil
}

// Replace makes edit in one step, as the kubelet does: the keys of before and of
// after stand in two directories, and the link ..data is moved from one to the
// other. What is not ours in the directory stays. New keys have the mode and
// owner of the current token or key, all others keep theirs.
//
// A plain directory gets there first, with its content unchanged: each key
// becomes a link to the same bytes, so that no reader sees two versions mixed.
//
// The error is ErrChanged where somebody else was faster. On failure the
// content is that of before, unless the error says otherwise.
func (d *Dir) Replace(ctx context.Context, edit content.KeyEdit) error {
	unlock, err := lock(d.real)
	if err != nil {
		return err
	}
	defer unlock()
	if err := d.unchanged(ctx); err != nil {
		return err
	}
	stamp, err := d.prepare(ctx, edit)
	if err != nil {
		return err
	}
	if err := d.unchanged(ctx); err != nil {
		return errors.Join(err, os.RemoveAll(filepath.Join(d.real, stamp)))
	}
	if err := d.swap(stamp); err != nil {
		return errors.Join(fmt.Errorf("replacing the keys: %w", explain(err)), os.RemoveAll(filepath.Join(d.real, stamp)))
	}
	if err := d.tidy(edit); err != nil {
		return fmt.Errorf("its keys are replaced, but something is left to do, which the next rotation does: %w", explain(err))
	}
	return nil
}

// prepare makes the directory of the keys with edit made, and whatever ..data
// needs to be there. The new keys come first, so that a plain directory stays
// plain where there is no room for them.
func (d *Dir) prepare(ctx context.Context, edit content.KeyEdit) (stamp string, err error) {
	if d.stamp != "" {
		if err := d.heal(ctx); err != nil {
			return "", layingOut(err)
		}
		if stamp, err = d.fill(filepath.Join(d.real, d.stamp), nil, edit); err != nil {
			return "", fmt.Errorf("writing the new keys: %w", explain(err))
		}
		return stamp, nil
	}
	present, err := d.plainKeys()
	if err != nil {
		return "", layingOut(err)
	}
	if stamp, err = d.fill(d.real, present, edit); err != nil {
		return "", fmt.Errorf("writing the new keys: %w", explain(err))
	}
	if err := d.layOut(present); err != nil {
		return "", errors.Join(layingOut(err), os.RemoveAll(filepath.Join(d.real, stamp)))
	}
	return stamp, nil
}

func layingOut(err error) error { return fmt.Errorf("laying it out: %w", explain(err)) }

// unchanged reports ErrChanged unless the directory is as it was read.
func (d *Dir) unchanged(ctx context.Context) error {
	e, err := ReadDir(ctx, d.Path, d.names...)
	if err != nil || d.real != e.real || d.stamp != e.stamp || !maps.EqualFunc(d.Keys, e.Keys, bytes.Equal) {
		return ErrChanged
	}
	return nil
}

// plainKeys returns those of our keys that a plain directory has.
func (d *Dir) plainKeys() (present []string, err error) {
	for _, key := range content.Names() {
		info, err := os.Lstat(filepath.Join(d.real, key))
		switch {
		case errors.Is(err, fs.ErrNotExist):
			continue
		case err != nil:
			return nil, err
		case !info.Mode().IsRegular():
			return nil, fmt.Errorf("key %s is no regular file; replace what it leads to, or put a file there", key)
		}
		present = append(present, key)
	}
	return present, nil
}

// layOut gives a plain directory, which has the keys present, its ..data, with
// content unchanged.
func (d *Dir) layOut(present []string) error {
	stamp, err := d.fill(d.real, present, nil)
	if err != nil {
		return err
	}
	if err := d.swap(stamp); err != nil {
		return errors.Join(err, os.RemoveAll(filepath.Join(d.real, stamp)))
	}
	d.stamp = stamp
	for _, key := range present {
		if err := d.link(key); err != nil {
			return err
		}
	}
	return syncDir(d.real)
}

// heal makes links of keys that a layOut left as files when it was cut short.
func (d *Dir) heal(ctx context.Context) error {
	for _, key := range content.Names() {
		info, err := os.Lstat(filepath.Join(d.real, key))
		if err != nil || info.Mode()&fs.ModeSymlink != 0 {
			continue
		}
		inside, err := os.Lstat(filepath.Join(d.real, d.stamp, key))
		if err != nil || !os.SameFile(info, inside) && !d.sameBytes(ctx, key) {
			return fmt.Errorf("key %s is a file beside %s and says something else than the key in there, which is the one that counts; remove the file", key, dataLink)
		}
		if err := d.link(key); err != nil {
			return err
		}
	}
	return nil
}

func (d *Dir) sameBytes(ctx context.Context, key string) bool {
	want, ours := d.Keys[key]
	have, err := reload.File(filepath.Join(d.real, key)).Read(ctx, maxBytes)
	return ours && err == nil && bytes.Equal(have.Data, want)
}

// link makes key a link into ..data, in one step whatever stands there.
func (d *Dir) link(key string) error {
	temp := filepath.Join(d.real, ".."+key+"_tmp")
	if err := os.Remove(temp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.Symlink(filepath.Join(dataLink, key), temp); err != nil {
		return err
	}
	if err := os.Rename(temp, filepath.Join(d.real, key)); err != nil {
		return errors.Join(err, os.Remove(temp))
	}
	return nil
}

// swap points ..data to stamp in one step.
func (d *Dir) swap(stamp string) error {
	if err := syncDir(d.real); err != nil {
		return err
	}
	next := filepath.Join(d.real, nextLink)
	if err := os.Remove(next); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.Symlink(stamp, next); err != nil {
		return err
	}
	if err := os.Rename(next, filepath.Join(d.real, dataLink)); err != nil {
		return errors.Join(err, os.Remove(next))
	}
	return nil
}

// tidy does what comes after the swap: links to new keys, then those of keys
// that are gone, then the directories that nothing leads to any more.
func (d *Dir) tidy(edit content.KeyEdit) error {
	for _, key := range slices.Sorted(maps.Keys(edit)) {
		at := filepath.Join(d.real, key)
		var err error
		if edit[key] == nil {
			err = os.Remove(at)
		} else if to, e := os.Readlink(at); e != nil || to != filepath.Join(dataLink, key) {
			err = d.link(key)
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	if err := syncDir(d.real); err != nil {
		return err
	}
	stamp, err := readStamp(d.real)
	if err != nil {
		return err
	}
	entries, err := os.ReadDir(d.real)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.IsDir() && e.Name() != stamp && isStamp(e.Name()) {
			if err := os.RemoveAll(filepath.Join(d.real, e.Name())); err != nil {
				return err
			}
		}
	}
	return nil
}

// isStamp reports whether a directory of this name is one of an update.
func isStamp(name string) bool {
	if len(name) <= len(stampLayout) {
		return false
	}
	_, err := time.Parse(stampLayout, name[:len(stampLayout)])
	return err == nil
}
