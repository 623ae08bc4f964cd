//go:build !unix

package supervise

import (
	"context"
	"errors"
	"os"
)

func newLauncher(*Options) (func(token string) (program, error), error) {
	return nil, errors.New("exec needs the signals and process groups of Unix; this system has none")
}

// ParseSignal accepts every name, since [New] fails.
func ParseSignal(string) (sig os.Signal, ok bool) { return os.Kill, true }

// Catch catches no signals.
func Catch(context.Context) (signals, hangup <-chan os.Signal, stop func()) {
	return nil, nil, func() {}
}
