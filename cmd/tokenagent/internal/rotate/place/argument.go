package place

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
)

// minToken is the length in bytes from which on a name may be a token.
const minToken = 16

// look is os.Stat for a path from the command line. Its error does not repeat
// what may be a token that was put in the place of the file that holds it.
func look(path string) (fs.FileInfo, error) {
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

// tokenLike reports whether path, which leads nowhere, may be a token: nothing
// in it is outside 0x21 to 0x7E, it is long enough, and its beginning is no
// directory either. Base64 has slashes, too.
func tokenLike(path string) bool {
	if len(path) < minToken || strings.ContainsFunc(path, func(r rune) bool { return r < 0x21 || r > 0x7E }) {
		return false
	}
	for i := 1; i < len(path); i++ {
		if os.IsPathSeparator(path[i]) {
			_, err := os.Lstat(path[:i])
			return err != nil
		}
	}
	return true
}

// Regular returns an error, with the mend, if path is no regular file or leads
// to none.
func Regular(path string) error {
	info, err := look(path)
	switch {
	case err != nil:
		return err
	case info.IsDir():
		return fmt.Errorf("%s is a directory; give the file in it", path)
	case !info.Mode().IsRegular():
		return fmt.Errorf("%s is no regular file but a pipe, a socket or a device; give a regular file, or - to read standard input", path)
	}
	return nil
}
