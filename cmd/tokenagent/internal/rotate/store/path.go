package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/rotate/content"
	"github.com/tokenagent/tokenagent/internal/kubemount"
	"github.com/tokenagent/tokenagent/internal/token"
	"github.com/tokenagent/tokenagent/pkg/reload"
)

// stat is os.Stat for a path from the command line. Its error does not repeat what may be
// a token, given instead of the file that holds it.
func stat(path string) (fs.FileInfo, error) {
	info, err := os.Stat(path)
	switch {
	case err == nil:
		return info, nil
	case tokenLike(path):
		return nil, errors.New("the path given does not exist (it is not repeated here, since it may be a token); give a file or a directory, and a token in a file")
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("%s does not exist; make it first, as with (umask 077; tokenagent generate > FILE)", path)
	}
	return nil, err
}

// tokenLike reports whether path, which does not exist, may be a token. A token has at
// least 16 bytes, all in 0x21 to 0x7E. It may be base64, which has slashes, so the first
// element of the path must not exist either.
func tokenLike(path string) bool {
	if len(path) < token.DefaultMinBytes || strings.ContainsFunc(path, func(r rune) bool { return r < 0x21 || r > 0x7E }) {
		return false
	}
	end := strings.Index(filepath.ToSlash(path[1:]), "/")
	if end < 0 {
		return true
	}
	_, err := os.Lstat(path[:end+1])
	return err != nil
}

// ReadFrom reads the regular file at path, which is from the command line. A file of more
// than limit bytes is cut behind limit+1 bytes.
func ReadFrom(ctx context.Context, path string, limit int64) ([]byte, error) {
	info, err := stat(path)
	switch {
	case err != nil:
		return nil, err
	case info.IsDir():
		return nil, fmt.Errorf("%s is a directory; give the file in it", path)
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("%s is no regular file but a pipe, a socket or a device; give a regular file, or - to read standard input", path)
	}
	c, err := reload.File(path).Read(ctx, limit)
	return c.Data, err
}

// changeable returns an error if path, which exists, must be changed elsewhere or by
// another name.
func changeable(path string, isDir bool) error {
	volume := volumeOf(path)
	switch {
	case volume == "" && isDir:
		return nil
	case volume == "":
		return wholeSource(path)
	case kubemount.Managed(volume):
		return fmt.Errorf("%s is in a volume that a kubelet keeps and would not take it from here; rotate the Secret: kubectl get secret NAME -o json | tokenagent rotate STEP | kubectl replace -f -", path)
	}
	given, err := os.Stat(path)
	whole, e := os.Stat(volume)
	if err != nil || e != nil || !os.SameFile(given, whole) {
		return fmt.Errorf("%s is a key of a directory that is replaced as a whole; give the directory: %s", path, volume)
	}
	return nil
}

// volumeOf returns the directory with a ..data that is path or has it inside, and "" if
// there is none.
func volumeOf(path string) string {
	resolved, err := filepath.EvalSymlinks(path)
	if err != nil {
		resolved = path
	}
	for _, dir := range []string{path, resolved} {
		for up := ""; dir != up; dir, up = filepath.Dir(dir), dir {
			if info, err := os.Lstat(filepath.Join(dir, dataLink)); err == nil && info.Mode()&fs.ModeSymlink != 0 {
				return dir
			}
		}
	}
	return ""
}

// wholeSource refuses a path that is one of several keys of a directory.
func wholeSource(path string) error {
	dir, base := filepath.Split(path)
	names := content.Names("")
	switch {
	case !content.IsName(names, base):
		return nil
	case !content.IsCurrent(base):
		return fmt.Errorf("%s has the name of a key; give the directory that it is in", path)
	}
	entries, _ := os.ReadDir(filepath.Clean(dir))
	for _, e := range entries {
		if key := e.Name(); content.IsName(names, key) && !content.IsCurrent(key) {
			return fmt.Errorf("%s is one key of a directory, which has %s as well; give the directory", path, key)
		}
	}
	return nil
}
