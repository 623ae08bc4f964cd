package reload

import "golang.org/x/sys/unix"

// isNoMountPoint reports whether the kernel says that path is not a mount point. Linux
// does since version 5.8 (STATX_ATTR_MOUNT_ROOT of statx(2)).
func isNoMountPoint(path string) bool {
	var s unix.Statx_t
	err := unix.Statx(unix.AT_FDCWD, path, unix.AT_SYMLINK_NOFOLLOW, 0, &s)
	return err == nil && s.Attributes_mask&unix.STATX_ATTR_MOUNT_ROOT != 0 && s.Attributes&unix.STATX_ATTR_MOUNT_ROOT == 0
}
