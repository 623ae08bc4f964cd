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

// dataLink is what the kubelet swaps to update a volume, see
// https://kubernetes.io/docs/concepts/configuration/secret/.
const dataLink = "..data"

// Dir is the content of the named files in the directory at path. A key that
// does not exist is not in Content.Keys; a directory with none of them is
// content as well, with no keys, and the Step decides about it. A key may be
// an empty file or a symlink; one that leads nowhere, or is not a regular
// file, is an error. The limit holds for all keys together.
//
// Where there is a `..data`, as in every Kubernetes volume, it is resolved once
// per read and all keys are read from there, so that the keys of two versions
// never mix. Where there is none, the keys are read until two passes agree.
func Dir(path string, keys ...string) Source {
	return &dir{given: path, path: absolute(path), keys: slices.Clone(keys)}
}

type dir struct {
	given, path string
	keys        []string
}

func (d *dir) String() string { return d.given }

func (d *dir) Read(_ context.Context, maxBytes int64) (Content, error) {
	c, _, err := d.track(maxBytes)
	return c, err
}

func (d *dir) track(maxBytes int64) (Content, evidence, error) {
	one := d.pass(maxBytes)
	for range readTries {
		// After a swap the kubelet deletes the old directory, so a key that is
		// absent there may exist. Only an unchanged way makes it absent.
		if one.swapped && one.err == nil && d.find().same(one.root) {
			return one.content, one.evidence(), nil
		}
		two := d.pass(maxBytes)
		if one.agrees(two) {
			return two.content, two.evidence(), two.err
		}
		one = two
	}
	return Content{}, one.evidence(), unsteady(d.given)
}

// A dirPass is one reading of all keys.
type dirPass struct {
	root    trail // to the directory, and on through ..data
	swapped bool  // there is a ..data
	hops    []hop // of the keys
	spots   map[string]spot
	content Content
	err     error
}

func (p dirPass) evidence() evidence {
	return evidence{hops: slices.Concat(p.root.hops, p.hops), way: p.root.links(), spots: p.spots}
}

func (p dirPass) agrees(q dirPass) bool {
	if (p.err == nil) != (q.err == nil) || p.err != nil && p.err.Error() != q.err.Error() {
		return false
	}
	return p.root.same(q.root) && trail{hops: p.hops}.same(trail{hops: q.hops}) &&
		maps.EqualFunc(p.content.Keys, q.content.Keys, bytes.Equal) &&
		maps.EqualFunc(p.spots, q.spots, func(a, b spot) bool { return sameFile(a.info, b.info) })
}

// find follows the way to where the keys are. Its trail ends with the name
// ..data if there is none.
func (d *dir) find() trail {
	t, _, _ := d.root()
	return t
}

func (d *dir) root() (t trail, swapped bool, err error) {
	t, err = walk(d.path)
	for i := range t.hops {
		t.hops[i].last = false // the directory that holds the keys is still to come
	}
	if err != nil {
		return t, false, err
	}
	if !t.info.IsDir() {
		return t, false, &fs.PathError{Op: "read", Path: t.end, Err: errNotDirectory}
	}
	data, err := walkFrom(t.end, dataLink)
	hops := slices.Concat(t.hops, data.hops)
	if errors.Is(err, fs.ErrNotExist) && len(data.hops) == 1 {
		return trail{hops: hops, end: t.end, info: t.info}, false, nil
	}
	data.hops = hops
	if err == nil && !data.info.IsDir() {
		err = &fs.PathError{Op: "read", Path: data.end, Err: errNotDirectory}
	}
	return data, true, err
}

var errNotDirectory = errors.New("not a directory")

func (d *dir) pass(maxBytes int64) (p dirPass) {
	p.spots = make(map[string]spot, len(d.keys))
	p.root, p.swapped, p.err = d.root()
	if p.err != nil {
		p.err = unreadable(d.given, p.err)
		return p
	}
	found := make(map[string][]byte, len(d.keys))
	left := maxBytes
	for _, key := range d.keys {
		data, ok, err := d.readKey(&p, key, left)
		if err != nil {
			if errors.Is(err, ErrTooLarge) {
				err = tooLarge(maxBytes)
			}
			if p.err == nil {
				p.err = unreadable(d.given, err)
			}
			continue // what else there is may matter all the same
		}
		if ok {
			found[key] = data
			left -= int64(len(data))
		}
	}
	p.content = Content{Keys: found, Path: d.given, Partial: p.err != nil}
	return p
}

// readKey reads one key and adds its hops and spot to p.
func (d *dir) readKey(p *dirPass, key string, limit int64) (data []byte, ok bool, err error) {
	t, err := walkFrom(p.root.end, key)
	p.hops = append(p.hops, t.hops...)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			if len(t.hops) == 1 {
				return nil, false, nil
			}
			// Not the same as absent: somebody meant it to be there.
			err = fmt.Errorf("key %s leads nowhere: %w", key, fs.ErrNotExist)
		}
		return nil, false, err
	}
	data, info, err := readRegular(t.end, t.info, limit)
	p.spots[key] = spot{path: t.end, info: info, way: slices.Concat(p.root.links(), t.links())}
	return data, err == nil, err
}
