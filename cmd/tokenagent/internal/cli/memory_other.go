//go:build !linux

package cli

import "log/slog"

// protect does nothing: only Linux can hide a process's memory.
func protect(*slog.Logger) {}
