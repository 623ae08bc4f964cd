package kubemount

import (
	"os"
	"path/filepath"
	"strings"
)

// Managed reports whether path lies in a volume that a kubelet manages. Such a volume
// has a `..data` and is a mount point, or lies where the kubelet keeps volumes on its
// host. Do not write there: the kubelet would overwrite the files, or never update them
// again.
func Managed(path string) bool {
	dir := volume(path)
	if dir == "" {
		return false
	}
	if path, err := filepath.EvalSymlinks(dir); err == nil {
		dir = path
	}
	return strings.Contains(filepath.ToSlash(dir), "/kubernetes.io~") || mountPoint(dir)
}

// volume returns the directory of path that has `..data`, or "" if none has.
func volume(path string) string {
	for _, dir := range []string{path, filepath.Dir(path)} {
		if info, err := os.Lstat(filepath.Join(dir, dataLink)); err == nil && info.Mode()&os.ModeSymlink != 0 {
			return dir
		}
	}
	return ""
}
