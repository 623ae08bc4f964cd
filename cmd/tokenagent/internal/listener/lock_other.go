//go:build !unix || solaris || aix

package listener

import (
	"context"
	"os"
	"syscall"
)

// errRefused is how a socket file answers that nobody listens on: on Windows
// WSAECONNREFUSED.
const errRefused = syscall.Errno(10061)

// lock holds nobody out here; what else Open looks at holds.
func lock(_ context.Context, dir string) (unlock func(), err error) {
	if _, err := os.Stat(dir); err != nil {
		return nil, err
	}
	return func() {}, nil
}
