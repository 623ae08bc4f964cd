package reload

import (
	"os"
	"syscall"
)

// untouched reports whether nobody has written to the file since it was renamed. A
// write sets both of its times alike, a rename the one of the inode alone (inode(7);
// rename is no exception on ext4, xfs, btrfs and tmpfs). So a file that was written
// within the same tick of the kernel's clock is not known to be untouched, and where a
// rename sets no time none is.
func untouched(info os.FileInfo) bool {
	s, ok := info.Sys().(*syscall.Stat_t)
	return ok && (s.Mtim.Sec < s.Ctim.Sec || s.Mtim.Sec == s.Ctim.Sec && s.Mtim.Nsec < s.Ctim.Nsec)
}
