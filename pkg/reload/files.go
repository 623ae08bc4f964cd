package reload

import (
	"context"
	"strings"
)

// Files returns several files as one source, each as with [File]. All of them must
// exist. The keys of [Content.Keys] are the paths as given. The limit of a read
// applies to each file.
//
// The files are read one after the other, so a read can return the new version of
// one file and the old version of another. Let the Step reject files that do not
// belong together. Use [Dir] for keys of one directory.
func Files(paths ...string) Source {
	f := make(files, len(paths))
	for i, path := range paths {
		f[i] = &file{given: path, path: absolute(path)}
	}
	return f
}

type files []*file

func (f files) String() string {
	given := make([]string, len(f))
	for i, one := range f {
		given[i] = one.given
	}
	return strings.Join(given, ", ")
}

func (f files) Read(_ context.Context, maxBytes int64) (Content, error) {
	c, _, err := f.readFiles(maxBytes)
	return c, err
}

// readFiles resolves all paths even if one cannot be read, so that each of them is
// watched. It returns the first error.
func (f files) readFiles(maxBytes int64) (Content, origin, error) {
	keys := make(map[string][]byte, len(f))
	all := origin{files: make(map[string]sourceFile, len(f))}
	var firstErr error
	for _, one := range f {
		c, from, err := one.readFiles(maxBytes)
		if firstErr == nil {
			firstErr = err
		}
		keys[one.given] = c.Data
		all.steps = append(all.steps, from.steps...)
		all.files[one.given] = from.files[""]
	}
	if firstErr != nil {
		return Content{}, all, firstErr
	}
	return Content{Keys: keys, Path: f.String()}, all, nil
}
