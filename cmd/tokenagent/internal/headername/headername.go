// Package headername compares names of header fields as servers may read them that
// make variables of headers. CGI (RFC 3875 section 4.1.18), and WSGI after it, cannot
// tell '_' from '-', and some servers make '_' of every character that is no letter and
// no digit, as lighttpd does. To an app behind one, X.Tokenagent.Subject is
// X-Tokenagent-Subject.
package headername

import (
	"slices"
	"strings"
)

// Plain returns name in lower case, with '-' for all but letters and digits.
func Plain(name string) string {
	b := []byte(name)
	for i, c := range b {
		b[i] = plain(c)
	}
	return string(b)
}

// IsAny reports whether name is, in its plain form, one of names. It allocates nothing.
func IsAny(name string, names []string) bool {
	return slices.ContainsFunc(names, func(other string) bool { return same(name, other) })
}

// Imitates reports whether name is another spelling of one of names, and none of them
// itself, regardless of case. It allocates nothing.
func Imitates(name string, names []string) bool {
	return IsAny(name, names) && !slices.ContainsFunc(names, func(other string) bool { return strings.EqualFold(name, other) })
}

func same(a, b string) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range len(a) {
		if plain(a[i]) != plain(b[i]) {
			return false
		}
	}
	return true
}

func plain(c byte) byte {
	switch {
	case c >= 'A' && c <= 'Z':
		return c | 0x20
	case c >= 'a' && c <= 'z', c >= '0' && c <= '9':
		return c
	}
	return '-'
}
