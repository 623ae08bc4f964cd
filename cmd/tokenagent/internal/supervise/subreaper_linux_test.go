package supervise_test

import (
	"os"

	"golang.org/x/sys/unix"
)

// beforeMain makes the process one that inherits orphans, as process 1 is, where
// a test asks for it.
func beforeMain() {
	if os.Getenv(roleVar) == "subreaper" {
		if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
			os.Exit(100)
		}
	}
}
