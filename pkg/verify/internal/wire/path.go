package wire

import "strings"

// SafePath reports whether path may be exempt. It must be absolute, and contain only
// characters that RFC 3986 section 3.3 allows in a path. It must not contain '%',
// "//", ';' or a dot segment, which an app may interpret differently. Two different
// safe paths never name the same resource.
func SafePath(path string) bool {
	if path == "" || path[0] != '/' || strings.Contains(path, "//") {
		return false
	}
	for i := range len(path) {
		if c := path[i]; !isAlphanumeric(c) && strings.IndexByte("/-._~!$&'()*+,=:@", c) < 0 {
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
