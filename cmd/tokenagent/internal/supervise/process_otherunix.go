//go:build unix && !linux

package supervise

import "syscall"

// killWithParent does nothing: only Linux can kill the command with this process.
func killWithParent(*syscall.SysProcAttr) {}

// awaitEnd returns false, because it cannot wait on this system. Containers, in which this
// process inherits orphans, run on Linux.
func awaitEnd(int) bool { return false }
