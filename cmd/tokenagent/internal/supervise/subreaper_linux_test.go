package supervise_test

import (
	"os"

	"golang.org/x/sys/unix"
)

// beforeMain makes the process inherit orphans, as process 1 does, if a test asks for it.
func beforeMain() {
	if os.Getenv(roleVar) == "subreaper" {
		if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
			os.Exit(100)
		}
	}
}
