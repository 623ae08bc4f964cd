//go:build unix && !linux

package supervise

import (
	"os/exec"
	"syscall"
)

// dieWithUs changes nothing: only Linux can do it.
func dieWithUs(*syscall.SysProcAttr) {}

// awaitEnd reports that it cannot tell.
func awaitEnd(int) bool { return false }

// orphans are nobody's children here: containers, in which a program is process
// 1 and inherits them, run on Linux.
type orphans struct{}

func (*orphans) start(cmd *exec.Cmd) error { return cmd.Start() }

func (*orphans) reaped() {}

func (*orphans) watch() (stop func()) { return func() {} }
