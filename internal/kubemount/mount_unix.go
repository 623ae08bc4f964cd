//go:build unix

package kubemount

import (
	"os"
	"path/filepath"
	"syscall"
)

// errReadOnly is what a file system answers that takes no writes.
const errReadOnly = syscall.EROFS

// mountPoint reports whether another file system begins at dir: its device is
// not its parent's. The kubelet mounts a tmpfs for each Secret.
func mountPoint(dir string) bool {
	at, err := os.Stat(dir)
	if err != nil {
		return false
	}
	above, err := os.Stat(filepath.Join(dir, ".."))
	if err != nil {
		return false
	}
	a, ok := at.Sys().(*syscall.Stat_t)
	b, also := above.Sys().(*syscall.Stat_t)
	return ok && also && a.Dev != b.Dev
}
