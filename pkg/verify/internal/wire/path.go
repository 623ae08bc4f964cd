package wire

import "strings"

// SafePath reports whether path may be exempt: absolute, in the characters
// that RFC 3986 section 3.3 allows in a path, and without what a router behind
// us may read differently than we do, namely '%', "//", ';' and dot segments.
// Two spellings of a safe path are always two different paths.
func SafePath(path string) bool {
	if path == "" || path[0] != '/' || strings.Contains(path, "//") {
		return false
	}
	for i := range len(path) {
		if c := path[i]; !alphanumeric(c) && strings.IndexByte("/-._~!$&'()*+,=:@", c) < 0 {
			return false
		}
	}
	for segment := range strings.SplitSeq(path, "/") {
		if segment == "." || segment == ".." {
			return false
		}
	}
	return true
}
