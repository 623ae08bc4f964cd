// Package kubemount changes a directory the way the kubelet changes a mounted
// Secret, ConfigMap or projected volume, so that tests and the demo exercise
// the real sequence of file system events without a cluster.
//
// What a reader of such a directory sees, in this order:
//
//  1. a directory named after the time of the update appears, `..2026_...`, and
//     the files are written inside it;
//  2. the symlink `..data_tmp` to it appears and is renamed over `..data`: this
//     one step is the swap;
//  3. links to new keys appear, links to removed keys go;
//  4. the directory of the update before is deleted, about 2 ms after the swap.
//
// So a path of the form key → ..data/key → ..2026_.../key always leads to the
// keys of one update, provided that `..data` is resolved once.
package kubemount

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
)

const (
	dataLink    = "..data"     // what readers follow
	nextLink    = "..data_tmp" // renamed over dataLink
	stampLayout = "..2006_01_02_15_04_05."
)

// Write makes payload the content of dir, each key a file of the given mode,
// in one atomic step. A payload equal to what dir holds changes nothing and
// causes no event, whatever mode is. An empty payload leaves `..data` pointing
// to an empty directory, as an optional Secret that does not exist does.
//
// dir must exist; it is created by whoever mounts it. A failure before the
// swap leaves dir as it was; a failure after it leaves the new content in
// place and is healed by the next Write. Two concurrent Writes to one dir are
// the caller's fault: a volume has one kubelet.
func Write(dir string, payload map[string][]byte, mode os.FileMode) error {
	for key := range payload {
		if err := validKey(key); err != nil {
			return err
		}
	}
	old, err := os.Readlink(filepath.Join(dir, dataLink))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		old = ""
	case err != nil:
		return fmt.Errorf("kubemount: read %s: %w", dataLink, err)
	case !validStamp(old):
		// It is deleted below, so it must be ours.
		return fmt.Errorf("kubemount: %s in %s does not lead to a directory of this package", dataLink, dir)
	case holds(filepath.Join(dir, old), payload):
		return linkKeys(dir, payload)
	}
	stamp, err := fill(dir, payload, mode)
	if err != nil {
		return err
	}
	if err := swap(dir, stamp); err != nil {
		return errors.Join(err, os.RemoveAll(filepath.Join(dir, stamp)))
	}
	if err := linkKeys(dir, payload); err != nil {
		return err
	}
	if old == "" {
		return nil
	}
	if err := os.RemoveAll(filepath.Join(dir, old)); err != nil {
		return fmt.Errorf("kubemount: remove the update before: %w", err)
	}
	return nil
}

// validKey holds a key to what the API server accepts for a Secret, as far as
// it matters here: one path element that cannot be taken for our own links.
func validKey(key string) error {
	if key == "" || key == "." || strings.HasPrefix(key, "..") || strings.ContainsAny(key, `/\`) {
		return fmt.Errorf("kubemount: key %q is not a plain file name", key)
	}
	return nil
}

func validStamp(name string) bool {
	return strings.HasPrefix(name, "..") && filepath.Base(name) == name && name != ".." && name != dataLink
}

// holds reports whether the directory has exactly the files of payload.
func holds(dir string, payload map[string][]byte) bool {
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != len(payload) {
		return false
	}
	for key, want := range payload {
		have, err := os.ReadFile(filepath.Join(dir, key))
		if err != nil || !bytes.Equal(have, want) {
			return false
		}
	}
	return true
}

// fill writes payload into a new directory inside dir and returns its name.
func fill(dir string, payload map[string][]byte, mode os.FileMode) (stamp string, err error) {
	path, err := os.MkdirTemp(dir, time.Now().UTC().Format(stampLayout))
	if err != nil {
		return "", fmt.Errorf("kubemount: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.RemoveAll(path))
		}
	}()
	// MkdirTemp makes it 0700, which a pod of another user could not enter.
	if err := os.Chmod(path, 0o755); err != nil { //nolint:gosec // the files inside carry the caller's mode
		return "", fmt.Errorf("kubemount: %w", err)
	}
	for key, data := range payload {
		name := filepath.Join(path, key)
		if err := os.WriteFile(name, data, 0o600); err != nil {
			return "", fmt.Errorf("kubemount: write %s: %w", key, err)
		}
		// Apart, because WriteFile's mode is cut by the umask.
		if err := os.Chmod(name, mode); err != nil {
			return "", fmt.Errorf("kubemount: %w", err)
		}
	}
	return filepath.Base(path), nil
}

// swap points `..data` to stamp in one step.
func swap(dir, stamp string) error {
	next := filepath.Join(dir, nextLink)
	if err := os.Remove(next); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("kubemount: remove a stale link: %w", err)
	}
	if err := os.Symlink(stamp, next); err != nil {
		return fmt.Errorf("kubemount: %w", err)
	}
	if err := os.Rename(next, filepath.Join(dir, dataLink)); err != nil {
		return errors.Join(fmt.Errorf("kubemount: swap: %w", err), os.Remove(next))
	}
	return nil
}

// linkKeys makes the links that users open: new ones first, then it removes
// those of keys that are gone, which dangle until then.
func linkKeys(dir string, payload map[string][]byte) error {
	for key := range payload {
		err := os.Symlink(filepath.Join(dataLink, key), filepath.Join(dir, key))
		if err != nil && !errors.Is(err, fs.ErrExist) {
			return fmt.Errorf("kubemount: link %s: %w", key, err)
		}
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("kubemount: %w", err)
	}
	for _, e := range entries {
		name := e.Name()
		if _, wanted := payload[name]; wanted || e.Type()&fs.ModeSymlink == 0 || strings.HasPrefix(name, "..") {
			continue
		}
		target, err := os.Readlink(filepath.Join(dir, name))
		if err != nil || target != filepath.Join(dataLink, name) {
			continue // not one of ours
		}
		if err := os.Remove(filepath.Join(dir, name)); err != nil {
			return fmt.Errorf("kubemount: unlink %s: %w", name, err)
		}
	}
	return nil
}
