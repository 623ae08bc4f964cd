//go:build !linux

package cli

import "log/slog"

// protectMemory does nothing: only Linux can hide a process's memory.
func protectMemory(*slog.Logger) {}
