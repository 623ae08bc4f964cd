package cli

import (
	"log/slog"

	"golang.org/x/sys/unix"
)

// protect keeps other processes of the same user from reading the tokens in this
// one's memory, by ptrace or /proc/PID/mem, and keeps them out of core dumps
// (PR_SET_DUMPABLE in prctl(2)). execve undoes it, so a program that exec starts is
// as it would be without.
func protect(log *slog.Logger) {
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		log.Warn("the process's memory can be read by others of the same user", "error", err)
	}
}
