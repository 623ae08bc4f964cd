// Package headername holds the names of the headers that tell an app who was authenticated.
// It also compares header names as servers do that turn headers into variables. CGI (RFC
// 3875 section 4.1.18) and WSGI do not distinguish '_' from '-', and lighttpd replaces every
// character except letters and digits by '_'. An app behind such a server reads
// X.Tokenagent.Subject as X-Tokenagent-Subject.
package headername

import (
	"slices"
	"strings"
)

// Plain returns name in lower case, with '-' for each byte that is neither a letter nor a
// digit.
func Plain(name string) string {
	b := []byte(name)
	for i, c := range b {
		b[i] = plain(c)
	}
	return string(b)
}

// IsAny reports whether name has the same plain form as one of names. It does not
// allocate.
func IsAny(name string, names []string) bool {
	return slices.ContainsFunc(names, func(other string) bool { return same(name, other) })
}

// Imitates reports whether name has the same plain form as one of names but differs from
// all of them, apart from case. It does not allocate.
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
