//go:build unix

package reload

import "syscall"

// openFlags keep an open from waiting for the writer of a FIFO (open(2)), and
// a terminal from becoming ours.
const openFlags = syscall.O_NONBLOCK | syscall.O_NOCTTY
