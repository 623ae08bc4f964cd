package place

import (
	"os"
	"path/filepath"
	"strings"
)

const (
	tempMark  = ".tokenagent-"
	tempChars = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567" // of rand.Text
	tempLen   = 26
)

// isTemp reports whether name is one under which Replace writes a new file
// beside the one called base.
func isTemp(name, base string) bool {
	random, ok := strings.CutPrefix(name, "."+base+tempMark)
	return ok && len(random) == tempLen && strings.Trim(random, tempChars) == ""
}

// sweep removes what rotations of the file have left that were killed while
// they wrote: it holds tokens. Call it under the lock, when no other can be at
// work. What is not ours to remove stays, and stops nobody.
func (f *File) sweep(dir string) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return
	}
	for _, e := range entries {
		if !isTemp(e.Name(), filepath.Base(f.real)) || !e.Type().IsRegular() {
			continue
		}
		if info, err := e.Info(); err == nil && madeFor(info, f.info) {
			_ = os.Remove(filepath.Join(dir, e.Name()))
		}
	}
}
