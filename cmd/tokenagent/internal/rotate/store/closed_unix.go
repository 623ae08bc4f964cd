//go:build unix

package store

import (
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// closed reports whether w is a standard stream that was closed when this
// program was started: the runtime puts /dev/null there, open for reading too,
// as no shell opens it for output.
func closed(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	have, err := f.Stat()
	null, e := os.Stat(os.DevNull)
	if err != nil || e != nil || !os.SameFile(have, null) {
		return false
	}
	flags, err := unix.FcntlInt(f.Fd(), unix.F_GETFL, 0)
	return err == nil && flags&unix.O_ACCMODE == unix.O_RDWR
}
