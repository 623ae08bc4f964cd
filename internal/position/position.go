// Package position names places in a source for errors.
package position

import (
	"cmp"
	"fmt"
)

// Of returns a place in the source called name, as "name/key:line". The key of a directory
// is "" for a file. The line counts from 1; 0 means no line. If name and key are both "",
// Of writes kind in their place, such as "token source".
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
