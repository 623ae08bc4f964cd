// Package position says in errors where in a source something is.
package position

import (
	"cmp"
	"fmt"
)

// Of returns a place in the source name: "name/key:line". key is a key of a directory, ""
// in a file; line counts from 1, and 0 leaves it out. Without a name and a key, kind stands
// for the source, such as "token source".
func Of(kind, name, key string, line int) string {
	place := cmp.Or(name, key, kind)
	if name != "" && key != "" {
		place = name + "/" + key
	}
	if line > 0 {
		place = fmt.Sprintf("%s:%d", place, line)
	}
	return place
}
