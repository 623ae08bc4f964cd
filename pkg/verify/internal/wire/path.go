package wire

import "strings"

// SafePath reports whether path may be exempt: it is absolute, holds only the
// characters that RFC 3986 section 3.3 allows in a path, and holds nothing that
// an app may read differently: '%', "//", ';' or a dot segment. Two different
// safe paths never mean the same resource.
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
