package reload

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"syscall"
)

// Dir returns the named files in the directory at path as one source, for example
// the keys of a mounted Kubernetes Secret. Keys that do not exist are missing in
// [Content.Keys]; if none exists, the map is empty and the Step decides. A key may
// be empty, and may be a symlink. A symlink to nothing, and anything but a regular
// file, is an error. The limit of a read applies to all keys together.
//
// A key that ends with * stands for every file whose name begins with the rest, 20,000 at
// most.
//
// If the directory has a symlink `..data`, as every Kubernetes volume does
// (https://kubernetes.io/docs/concepts/configuration/secret/), it is resolved once
// and all keys are read from its target. All keys are read until two reads agree, so
// that keys of two versions never mix.
func Dir(path string, keys ...string) Source { return newDir(path, keys) }

func newDir(path string, keys []string) *fileSource {
	abs, keys := absolute(path), slices.Clone(keys)
	return &fileSource{path, func(maxBytes int64) reading {
		return readKeys(path, abs, keys, maxBytes)
	}}
}

// dataLink is the symlink that the kubelet swaps to update a volume
// (pkg/volume/util/atomic_writer.go in kubernetes).
const dataLink = "..data"

// readKeys reads all keys once. After an error it reads the remaining keys too: a
// Step may use part of them; see Content.Partial.
func readKeys(path, abs string, keys []string, maxBytes int64) (r reading) {
	root, err := resolveRoot(abs)
	r.origin = origin{steps: root.steps, files: make(map[string]sourceFile), links: root.links()}
	if err != nil {
		r.err = fileError(path, err)
		return r
	}
	keys, err = expand(root.end, keys)
	if err != nil {
		r.err = fileError(path, err)
	}
	found := make(map[string][]byte, len(keys))
	left := maxBytes
	for _, key := range keys {
		data, exists, err := r.readKey(root.end, key, left)
		switch {
		case errors.Is(err, ErrTooLarge):
			err = tooLargeError(maxBytes) // of all keys together
		case exists && err == nil:
			found[key] = data
			left -= int64(len(data))
		}
		if err != nil && r.err == nil {
			r.err = fileError(path, err)
		}
	}
	r.content = Content{Keys: found, Path: path, Partial: r.err != nil}
	return r
}

// maxNames bounds the number of keys, because each of them is read at every poll.
const maxNames = 20_000

// expand returns keys with each pattern replaced by the names in the directory root that
// match it. Subdirectories never match. With an error it returns the other keys alone.
func expand(root string, keys []string) ([]string, error) {
	isPattern := func(key string) bool { return strings.HasSuffix(key, "*") }
	if !slices.ContainsFunc(keys, isPattern) {
		return keys, nil
	}
	entries, err := os.ReadDir(root)
	names := slices.DeleteFunc(slices.Clone(keys), isPattern)
	others := slices.Clip(names)
	for _, key := range keys {
		prefix, ok := strings.CutSuffix(key, "*")
		for _, e := range entries {
			if ok && strings.HasPrefix(e.Name(), prefix) && !e.IsDir() && !slices.Contains(keys, e.Name()) {
				names = append(names, e.Name())
			}
		}
	}
	if len(names) > maxNames {
		return others, fmt.Errorf("%d keys are more than %d; put the tokens into one file", len(names), maxNames)
	}
	return names, err
}

// readKey reads one key in the directory root and adds its place to r.
func (r *reading) readKey(root, key string, limit int64) (data []byte, exists bool, err error) {
	resolved, err := resolveFrom(root, key)
	r.origin.steps = append(r.origin.steps, resolved.steps...)
	switch {
	case errors.Is(err, fs.ErrNotExist) && len(resolved.steps) == 1:
		return nil, false, nil
	case errors.Is(err, fs.ErrNotExist):
		return nil, true, fmt.Errorf("key %s leads nowhere: %w", key, fs.ErrNotExist)
	case err != nil:
		return nil, true, err
	}
	data, info, err := readRegular(resolved.end, resolved.info, limit)
	links := slices.Concat(r.origin.links, resolved.links())
	r.origin.files[key] = sourceFile{path: resolved.end, info: info, links: links}
	return data, true, err
}

// resolveRoot finds the directory that holds the keys. Without a ..data the last
// step of root is the lookup of that name, so that it is watched for.
func resolveRoot(path string) (root resolvedPath, err error) {
	root, err = resolve(path)
	for i := range root.steps {
		root.steps[i].last = false // the directory of the keys comes after it
	}
	switch {
	case err != nil:
		return root, err
	case !root.info.IsDir():
		return root, &fs.PathError{Op: "read", Path: root.end, Err: syscall.ENOTDIR}
	}
	data, err := resolveFrom(root.end, dataLink)
	root.steps = append(root.steps, data.steps...)
	if errors.Is(err, fs.ErrNotExist) && len(data.steps) == 1 {
		return root, nil // not a volume of the kubelet
	}
	if err == nil && !data.info.IsDir() {
		err = &fs.PathError{Op: "read", Path: data.end, Err: syscall.ENOTDIR}
	}
	root.end, root.info = data.end, data.info
	return root, err
}
