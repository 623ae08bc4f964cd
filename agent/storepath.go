package agent

import (
	"os"
	"path/filepath"
	"strings"

	"github.com/tokenagent/tokenagent/internal/option"
)

// checkStateFile returns an error if StateFile is a directory, a source, or a file in a
// source directory. It makes StateFile absolute.
func (r *resolved) checkStateFile() error {
	if r.StateFile == "" {
		return nil
	}
	info, err := os.Stat(r.StateFile)
	if err == nil && info.IsDir() || strings.HasSuffix(r.StateFile, string(filepath.Separator)) {
		return option.Errorf(option.Field, "{state-file} is a directory; name a file in it")
	}
	r.StateFile = absolute(r.StateFile) // a later chdir must not change the path
	for _, s := range []*sourceSpec{r.tokens, r.keys} {
		if s == nil || !s.watched {
			continue
		}
		path := absolute(s.location)
		switch {
		case sameFile(r.StateFile, path):
			return option.Errorf(option.Field, "{state-file} is the source %s itself; give it a path of its own", s.location)
		case sameFile(filepath.Dir(r.StateFile), path), inside(r.StateFile, path):
			return option.Errorf(option.Field, "{state-file} lies in the source directory %s; give it a path outside", s.location)
		}
	}
	return nil
}

// sameFile reports whether a and b are the same file, or would be if they existed.
func sameFile(a, b string) bool {
	if resolveSymlinks(a) == resolveSymlinks(b) {
		return true
	}
	x, err := os.Stat(a)
	if err != nil {
		return false
	}
	y, err := os.Stat(b)
	return err == nil && os.SameFile(x, y)
}

// inside reports whether path is dir or below dir, and dir is a directory.
func inside(path, dir string) bool {
	info, err := os.Stat(dir)
	if err != nil || !info.IsDir() {
		return false
	}
	rel, err := filepath.Rel(resolveSymlinks(dir), resolveSymlinks(path))
	return err == nil && rel != ".." && !strings.HasPrefix(rel, ".."+string(filepath.Separator))
}

// resolveSymlinks resolves the symbolic links in the part of path that exists.
func resolveSymlinks(path string) string {
	path = filepath.Clean(path)
	if found, err := filepath.EvalSymlinks(path); err == nil {
		return found
	}
	if dir := filepath.Dir(path); dir != path {
		return filepath.Join(resolveSymlinks(dir), filepath.Base(path))
	}
	return path
}
