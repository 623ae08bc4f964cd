// Package kubemount changes a directory as the kubelet changes a mounted Secret,
// ConfigMap or projected volume, so that tests and the demo produce the real sequence
// of file system events without a cluster. [Managed] recognizes a real volume.
//
// A reader of such a directory sees, in this order:
//
//  1. a directory named after the time of the update appears, `..2026_...`, and
//     the files are written inside it;
//  2. the symlink `..data_tmp` to it appears and is renamed over `..data`: this
//     one step is the swap;
//  3. links to new keys appear, and links to removed keys disappear;
//  4. the directory of the previous update is deleted, about 2 ms after the swap.
//
// So the path key → ..data/key → ..2026_.../key always leads to the keys of one
// update if `..data` is resolved once.
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
	dataLink    = "..data"     // readers follow it
	nextLink    = "..data_tmp" // renamed over dataLink
	stampLayout = "..2006_01_02_15_04_05."
)

// Write makes payload the content of dir in one atomic step. Each key becomes a file
// with the given mode. If dir holds this payload already, nothing changes and there is
// no event. An empty payload leaves `..data` pointing to an empty directory, as an
// optional Secret that does not exist does.
//
// dir must exist. The next Write repairs what a failed Write left. Concurrent Writes to
// one directory are not supported: a volume has one kubelet.
func Write(dir string, payload map[string][]byte, mode os.FileMode) error {
	if err := write(dir, payload, mode); err != nil {
		return fmt.Errorf("kubemount: %w", err)
	}
	return nil
}

func write(dir string, payload map[string][]byte, mode os.FileMode) error {
	for key := range payload {
		if key == "" || key == "." || strings.HasPrefix(key, "..") || strings.ContainsAny(key, `/\`) {
			return fmt.Errorf("key %q is not a plain file name", key)
		}
	}
	old, err := os.Readlink(filepath.Join(dir, dataLink))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		old = ""
	case err != nil:
		return err
	case !strings.HasPrefix(old, "..") || filepath.Base(old) != old || old == ".." || old == dataLink:
		// It is deleted below, so it must be a directory of this package.
		return fmt.Errorf("%s in %s does not lead to a directory of this package", dataLink, dir)
	case holds(filepath.Join(dir, old), payload):
		return linkKeys(dir, payload)
	}
	stamp, err := fill(dir, payload, mode)
	if err != nil {
		return err
	}
	if err := swap(dir, stamp); err != nil {
		return err
	}
	if err := linkKeys(dir, payload); err != nil || old == "" {
		return err
	}
	return os.RemoveAll(filepath.Join(dir, old))
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
		return "", err
	}
	// MkdirTemp makes it 0700, which a pod of another user could not enter.
	if err := os.Chmod(path, 0o755); err != nil { //nolint:gosec // the files inside carry the caller's mode
		return "", err
	}
	for key, data := range payload {
		name := filepath.Join(path, key)
		if err := os.WriteFile(name, data, 0o600); err != nil {
			return "", err
		}
		// The umask would restrict the mode of WriteFile.
		if err := os.Chmod(name, mode); err != nil {
			return "", err
		}
	}
	return filepath.Base(path), nil
}

// swap points `..data` to stamp in one step.
func swap(dir, stamp string) error {
	next := filepath.Join(dir, nextLink)
	if err := os.Remove(next); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.Symlink(stamp, next); err != nil {
		return err
	}
	return os.Rename(next, filepath.Join(dir, dataLink))
}

// linkKeys creates the links that readers open. Then it removes the links of removed keys.
func linkKeys(dir string, payload map[string][]byte) error {
	for key := range payload {
		err := os.Symlink(filepath.Join(dataLink, key), filepath.Join(dir, key))
		if err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		name := e.Name()
		if _, wanted := payload[name]; wanted || strings.HasPrefix(name, "..") {
			continue
		}
		target, err := os.Readlink(filepath.Join(dir, name))
		if err != nil || target != filepath.Join(dataLink, name) {
			continue // linkKeys did not create it
		}
		if err := os.Remove(filepath.Join(dir, name)); err != nil {
			return err
		}
	}
	return nil
}
