package cli

import (
	"log/slog"

	"golang.org/x/sys/unix"
)

// protectMemory keeps other processes of the same user from reading the tokens in the
// memory of this process, by ptrace or /proc/PID/mem, and keeps the tokens out of core
// dumps (PR_SET_DUMPABLE in prctl(2)). It does not affect a program that exec starts:
// execve resets it.
func protectMemory(log *slog.Logger) {
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		log.Warn("other processes of the same user can read the memory of this process", "error", err)
	}
}
