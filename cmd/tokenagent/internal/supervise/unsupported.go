//go:build !unix

package supervise

import (
	"context"
	"errors"
	"os"
)

var errUnsupported = errors.New("exec needs the signals and process groups of Unix; this system has none")

// A launcher starts nothing here.
type launcher struct{}

func newLauncher(*Options) (*launcher, error) { return nil, errUnsupported }

func (*launcher) launch(string) (program, error) { return nil, errUnsupported }

func (*launcher) watch() (stop func()) { return func() {} }

// ParseSignal takes every name for SIGKILL: [New] refuses anyway.
func ParseSignal(string) (sig os.Signal, ok bool) { return os.Kill, true }

// Catch catches nothing here.
func Catch(context.Context) (signals, hangup <-chan os.Signal, stop func()) {
	return nil, nil, func() {}
}
