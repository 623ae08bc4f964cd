package reload

import (
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

// A pathStep is the lookup of one name in one directory while a path is resolved.
type pathStep struct {
	dir, name string      // dir has no symlinks
	dirInfo   os.FileInfo // of dir, if an earlier step found it
	info      os.FileInfo // by lstat(2); nil if that failed
	target    string      // of a symlink; "" for anything else
	last      bool        // dir holds the file that the path leads to
}

func (s pathStep) path() string { return filepath.Join(s.dir, s.name) }

// A symlink is the path of a symbolic link and its target.
type symlink struct{ path, target string }

// A resolvedPath lists the lookups of all components of a path and of the targets
// of its symlinks (path_resolution(7)). Their directories must all be watched, to
// notice a replaced directory or a new symlink in the middle of the path.
type resolvedPath struct {
	steps []pathStep
	end   string      // the path without symlinks, as far as it was resolved
	info  os.FileInfo // of end; nil after an error
}

// maxLinks is the limit of Linux for one path (path_resolution(7)).
const maxLinks = 40

// resolve follows an absolute path. After an error the last step is the one that
// failed.
func resolve(path string) (resolvedPath, error) {
	volume := filepath.VolumeName(path)
	return resolveFrom(volume+string(filepath.Separator), path[len(volume):])
}

// resolveFrom follows the relative path rel from base, a directory whose path has
// no symlinks.
func resolveFrom(base, rel string) (resolvedPath, error) {
	r := resolvedPath{end: base}
	links := 0
	for rest := components(rel); len(rest) > 0; {
		name := rest[0]
		rest = rest[1:]
		if name == ".." {
			r.end = filepath.Dir(r.end) // end has no symlinks, so this is its parent
			r.info = nil
			continue
		}
		step := pathStep{dir: r.end, name: name, dirInfo: r.info, last: len(rest) == 0}
		path := step.path()
		info, err := os.Lstat(path)
		if err != nil {
			r.steps = append(r.steps, step)
			r.info = nil
			return r, err
		}
		step.info = info
		if info.Mode()&fs.ModeSymlink == 0 {
			r.steps = append(r.steps, step)
			r.end, r.info = path, info
			continue
		}
		step.target, err = os.Readlink(path)
		r.steps = append(r.steps, step)
		if err != nil {
			return r, err
		}
		if links++; links > maxLinks {
			return r, &fs.PathError{Op: "resolve", Path: path, Err: syscall.ELOOP}
		}
		target := step.target
		if filepath.IsAbs(target) {
			volume := filepath.VolumeName(target)
			r.end, target = volume+string(filepath.Separator), target[len(volume):]
		}
		r.info = nil
		rest = append(components(target), rest...)
	}
	if r.info == nil {
		info, err := os.Lstat(r.end)
		if err != nil {
			return r, err
		}
		r.info = info
	}
	return r, nil
}

// components splits a path into its names, without empty ones and ".".
func components(path string) []string {
	names := strings.FieldsFunc(path, func(r rune) bool {
		return r < 0x80 && os.IsPathSeparator(uint8(r))
	})
	return slices.DeleteFunc(names, func(name string) bool { return name == "." })
}

// links returns the symlinks of the path, in the order of the lookups.
func (r resolvedPath) links() []symlink {
	var links []symlink
	for _, s := range r.steps {
		if s.target != "" {
			links = append(links, symlink{s.path(), s.target})
		}
	}
	return links
}

// sameSteps reports whether paths were resolved twice through the same symlinks and
// files.
func sameSteps(a, b []pathStep) bool {
	return slices.EqualFunc(a, b, func(a, b pathStep) bool {
		return a.dir == b.dir && a.name == b.name && a.target == b.target && sameFile(a.info, b.info)
	})
}

// sameFile is os.SameFile; two missing files are the same.
func sameFile(a, b os.FileInfo) bool {
	if a == nil || b == nil {
		return a == nil && b == nil
	}
	return os.SameFile(a, b)
}

// hasNewLink reports whether a symlink in now is missing in before or had another
// target there. A symlink that disappeared does not count: the file in its place
// may be half written.
func hasNewLink(now, before []symlink) bool {
	return slices.ContainsFunc(now, func(l symlink) bool { return !slices.Contains(before, l) })
}
