// Package claims finds the claims of a signed token by name. A name that begins
// with "/" is a JSON Pointer (RFC 6901) into the claims; any other is that of a
// member at the top.
package claims

import (
	"errors"
	"strconv"
	"strings"
)

// CheckName says what is wrong with the name of a claim, and returns nil if nothing is.
func CheckName(name string) error {
	switch {
	case name == "":
		return errors.New("it has no name")
	case name[0] != '/':
		return nil
	}
	for rest := name; ; {
		_, after, found := strings.Cut(rest, "~")
		if !found {
			return nil
		}
		if after == "" || after[0] != '0' && after[0] != '1' {
			return errors.New("a JSON Pointer in which ~ stands before something other than 0 or 1; write ~0 for ~ and ~1 for / (RFC 6901)")
		}
		rest = after
	}
}

// Find returns the claim of that name, the last part of the name, and whether the
// claim is there.
func Find(claims map[string]any, name string) (claim any, last string, there bool) {
	if !strings.HasPrefix(name, "/") {
		claim, there = claims[name]
		return claim, name, there
	}
	claim = claims
	for part := range strings.SplitSeq(name[1:], "/") {
		last = strings.ReplaceAll(strings.ReplaceAll(part, "~1", "/"), "~0", "~")
		switch c := claim.(type) {
		case map[string]any:
			if claim, there = c[last]; !there {
				return nil, last, false
			}
		case []any:
			i, err := strconv.Atoi(last)
			if err != nil || i < 0 || i >= len(c) || strconv.Itoa(i) != last {
				return nil, last, false
			}
			claim = c[i]
		default:
			return nil, last, false
		}
	}
	return claim, last, true
}
