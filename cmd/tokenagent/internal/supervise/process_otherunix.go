//go:build unix && !linux

package supervise

import "syscall"

// dieWithUs changes nothing: only Linux can kill the command with this process.
func dieWithUs(*syscall.SysProcAttr) {}

// awaitEnd returns false: it cannot tell. Containers, in which this process inherits
// orphans, run on Linux.
func awaitEnd(int) bool { return false }
