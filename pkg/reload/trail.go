package reload

import (
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

// A hop is one name looked up in one directory on the way along a path.
type hop struct {
	dir, name string      // dir is free of symlinks
	info      os.FileInfo // what stands there, by Lstat; nil when it could not be had
	target    string      // where it leads; "" unless it is a symlink
	last      bool        // no further name follows, so dir holds what is looked for
}

func (h hop) path() string { return filepath.Join(h.dir, h.name) }

// A link is a symlink and what it said.
type link struct{ path, target string }

// A trail is how a path resolved: each component in turn, and each component
// of every symlink's target. Watching all of it is the only way to learn of a
// replaced directory or a retargeted link in the middle of the path.
type trail struct {
	hops []hop
	end  string      // the path free of symlinks, as far as the walk came
	info os.FileInfo // of end; nil unless the walk came through
}

// maxLinks is what Linux allows on one path (path_resolution(7)).
const maxLinks = 40

// walk follows an absolute path. On an error the trail ends with the hop that
// failed.
func walk(path string) (trail, error) {
	volume := filepath.VolumeName(path)
	return walkFrom(volume+string(filepath.Separator), path[len(volume):])
}

// walkFrom follows rel from base, a directory whose path has no symlinks.
func walkFrom(base, rel string) (trail, error) {
	t := trail{end: base}
	links := 0
	for rest := split(rel); len(rest) > 0; {
		name := rest[0]
		rest = rest[1:]
		if name == ".." {
			t.end = filepath.Dir(t.end) // end has no symlinks, so this is its parent
			t.info = nil
			continue
		}
		h := hop{dir: t.end, name: name, last: len(rest) == 0}
		path := h.path()
		info, err := os.Lstat(path)
		if err != nil {
			t.hops = append(t.hops, h)
			t.info = nil
			return t, err
		}
		h.info = info
		if info.Mode()&fs.ModeSymlink == 0 {
			t.hops = append(t.hops, h)
			t.end, t.info = path, info
			continue
		}
		h.target, err = os.Readlink(path)
		t.hops = append(t.hops, h)
		if err != nil {
			return t, err
		}
		if links++; links > maxLinks {
			return t, &fs.PathError{Op: "walk", Path: path, Err: syscall.ELOOP}
		}
		target := h.target
		if filepath.IsAbs(target) {
			volume := filepath.VolumeName(target)
			t.end, target = volume+string(filepath.Separator), target[len(volume):]
		}
		t.info = nil
		rest = append(split(target), rest...)
	}
	if t.info == nil {
		info, err := os.Lstat(t.end)
		if err != nil {
			return t, err
		}
		t.info = info
	}
	return t, nil
}

// split cuts a path into its components, without empty ones and ".".
func split(path string) []string {
	names := strings.FieldsFunc(path, func(r rune) bool {
		return r < 0x80 && os.IsPathSeparator(uint8(r))
	})
	return slices.DeleteFunc(names, func(name string) bool { return name == "." })
}

// links are the symlinks on the trail, in order.
func (t trail) links() []link {
	var ls []link
	for _, h := range t.hops {
		if h.target != "" {
			ls = append(ls, link{h.path(), h.target})
		}
	}
	return ls
}

// evidence is that of a single file, which was info once it had been read.
func (t trail) evidence(info os.FileInfo) evidence {
	way := t.links()
	return evidence{hops: t.hops, way: way, spots: map[string]spot{"": {path: t.end, info: info, way: way}}}
}

// same reports whether two walks of one path took the same way over the same
// files, so that what was read in between came from one place.
func (t trail) same(u trail) bool {
	return slices.EqualFunc(t.hops, u.hops, func(a, b hop) bool {
		return a.dir == b.dir && a.name == b.name && a.target == b.target && sameFile(a.info, b.info)
	})
}

// sameFile is os.SameFile where absence equals absence.
func sameFile(a, b os.FileInfo) bool {
	if a == nil || b == nil {
		return a == nil && b == nil
	}
	return os.SameFile(a, b)
}

// retargeted reports whether a link on the way says something that it did not
// say before. A link that has gone is no such evidence: what stands in its
// place may be a file in the middle of being written.
func retargeted(now, before []link) bool {
	return slices.ContainsFunc(now, func(l link) bool { return !slices.Contains(before, l) })
}
