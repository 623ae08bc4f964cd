package kubemount

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
)

// volume returns the directory of path that has `..data`, and "" if none has.
func volume(path string) string {
	for _, dir := range []string{path, filepath.Dir(path)} {
		if info, err := os.Lstat(filepath.Join(dir, dataLink)); err == nil && info.Mode()&os.ModeSymlink != 0 {
			return dir
		}
	}
	return ""
}

// Managed reports whether path lies in a volume that a kubelet keeps: it has the
// form, and it is a mount of its own, cannot be written, or stands where the
// kubelet keeps volumes on its host. Nobody else may write there, since the
// kubelet would overwrite it, or never update it again.
func Managed(path string) bool {
	dir := volume(path)
	if dir == "" {
		return false
	}
	if path, err := filepath.EvalSymlinks(dir); err == nil {
		dir = path
	}
	return strings.Contains(filepath.ToSlash(dir), "/kubernetes.io~") || mountPoint(dir) || readOnly(dir)
}

// readOnly reports whether the file system of dir takes no writes. Removing
// what is not there changes nothing, and is refused first where nothing can be
// changed (unlink(2), EROFS).
func readOnly(dir string) bool {
	return errors.Is(os.Remove(filepath.Join(dir, "..tokenagent-none")), errReadOnly)
}
