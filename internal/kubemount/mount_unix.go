//go:build unix

package kubemount

import (
	"path/filepath"
	"syscall"
)

// mountPoint reports whether another file system begins at dir: the device of dir is not
// that of its parent. The kubelet mounts a tmpfs for each Secret.
func mountPoint(dir string) bool {
	var at, above syscall.Stat_t
	return syscall.Stat(dir, &at) == nil && syscall.Stat(filepath.Join(dir, ".."), &above) == nil && at.Dev != above.Dev
}
