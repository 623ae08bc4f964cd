package reload

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
)

// Dir returns the named files in the directory at path as one source, for example
// the keys of a mounted Kubernetes Secret. Keys that do not exist are missing in
// [Content.Keys]; if none exists, the map is empty and the Step decides. A key may
// be empty, and may be a symlink. A symlink to nothing, and anything but a regular
// file, is an error. The limit of a read applies to all keys together.
//
// If the directory has a symlink `..data`, as every Kubernetes volume does
// (https://kubernetes.io/docs/concepts/configuration/secret/), it is resolved once
// per read, and all keys are read from its target: keys of two versions never mix.
// Without it, all keys are read repeatedly until two reads agree.
func Dir(path string, keys ...string) Source {
	return &dir{given: path, path: absolute(path), keys: slices.Clone(keys)}
}

// dataLink is the symlink that the kubelet swaps to update a volume
// (pkg/volume/util/atomic_writer.go in kubernetes).
const dataLink = "..data"

type dir struct {
	given string // as the caller wrote it, for messages
	path  string // absolute
	keys  []string
}

func (d *dir) String() string { return d.given }

func (d *dir) Read(_ context.Context, maxBytes int64) (Content, error) {
	c, _, err := d.readFiles(maxBytes)
	return c, err
}

func (d *dir) readFiles(maxBytes int64) (Content, origin, error) {
	first := d.readKeys(maxBytes)
	for range maxReadTries {
		if first.versioned && first.err == nil {
			// The kubelet removes the old directory after a swap. A key that was not
			// found is only known not to exist if ..data has not changed since.
			if root, _, _ := d.resolveRoot(); root.equal(first.root) {
				return first.content, first.origin(), nil
			}
		}
		second := d.readKeys(maxBytes)
		if first.equal(&second) {
			return second.content, second.origin(), second.err
		}
		first = second
	}
	return Content{}, first.origin(), unsteadyError(d.given)
}

// A dirRead is one read of all keys.
type dirRead struct {
	root      resolvedPath // the directory that holds the keys: the target of ..data if there is one
	versioned bool         // there is a ..data
	steps     []pathStep   // of the keys
	files     map[string]sourceFile
	content   Content
	err       error
}

func (r *dirRead) origin() origin {
	return origin{steps: slices.Concat(r.root.steps, r.steps), links: r.root.links(), files: r.files}
}

func (r *dirRead) equal(other *dirRead) bool {
	if (r.err == nil) != (other.err == nil) || r.err != nil && r.err.Error() != other.err.Error() {
		return false
	}
	return r.root.equal(other.root) && resolvedPath{steps: r.steps}.equal(resolvedPath{steps: other.steps}) &&
		maps.EqualFunc(r.content.Keys, other.content.Keys, bytes.Equal) &&
		maps.EqualFunc(r.files, other.files, func(a, b sourceFile) bool { return sameFile(a.info, b.info) })
}

var errNotDirectory = errors.New("not a directory")

// resolveRoot finds the directory that holds the keys. Without a ..data the last
// step of root is the lookup of that name, so that it is watched for.
func (d *dir) resolveRoot() (root resolvedPath, versioned bool, err error) {
	root, err = resolve(d.path)
	for i := range root.steps {
		root.steps[i].last = false // the directory of the keys comes after it
	}
	if err != nil {
		return root, false, err
	}
	if !root.info.IsDir() {
		return root, false, &fs.PathError{Op: "read", Path: root.end, Err: errNotDirectory}
	}
	data, err := resolveFrom(root.end, dataLink)
	missing := errors.Is(err, fs.ErrNotExist) && len(data.steps) == 1
	data.steps = slices.Concat(root.steps, data.steps)
	if missing {
		return resolvedPath{steps: data.steps, end: root.end, info: root.info}, false, nil
	}
	if err == nil && !data.info.IsDir() {
		err = &fs.PathError{Op: "read", Path: data.end, Err: errNotDirectory}
	}
	return data, true, err
}

// readKeys reads all keys once. After an error it reads the remaining keys too: a
// Step may use part of them; see Content.Partial.
func (d *dir) readKeys(maxBytes int64) (r dirRead) {
	r.files = make(map[string]sourceFile, len(d.keys))
	r.root, r.versioned, r.err = d.resolveRoot()
	if r.err != nil {
		r.err = fileError(d.given, r.err)
		return r
	}
	found := make(map[string][]byte, len(d.keys))
	left := maxBytes
	for _, key := range d.keys {
		data, ok, err := r.readKey(key, left)
		if errors.Is(err, ErrTooLarge) {
			err = tooLargeError(maxBytes)
		}
		if err != nil && r.err == nil {
			r.err = fileError(d.given, err)
		}
		if ok {
			found[key] = data
			left -= int64(len(data))
		}
	}
	r.content = Content{Keys: found, Path: d.given, Partial: r.err != nil}
	return r
}

// readKey reads one key and adds its steps and its file to r. ok is false without
// an error if the key does not exist.
func (r *dirRead) readKey(key string, limit int64) (data []byte, ok bool, err error) {
	p, err := resolveFrom(r.root.end, key)
	r.steps = append(r.steps, p.steps...)
	if err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			return nil, false, err
		}
		if len(p.steps) == 1 {
			return nil, false, nil
		}
		return nil, false, fmt.Errorf("key %s leads nowhere: %w", key, fs.ErrNotExist)
	}
	data, info, err := readRegular(p.end, p.info, limit)
	r.files[key] = sourceFile{path: p.end, info: info, links: slices.Concat(r.root.links(), p.links())}
	return data, err == nil, err
}
