// Command tokenagent keeps the accepted tokens of a service in step with their source, and
// verifies tokens for apps that cannot embed package agent.
package main

import (
	"context"
	"os"
	"runtime"

	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/cli"
)

// version is set by the linker. If it is empty, the version that the build recorded counts.
var version string

// Linux hands a signal for the process to its main thread, even if that thread hangs in a read
// of a dead network file system and cannot take it. So the main thread does nothing but wait
// for the command: the goroutines that read sources run on other threads.
func init() { runtime.LockOSThread() } //nolint:gochecknoinits // only init is sure to run on the main thread

func main() {
	os.Exit(cli.Main(context.Background(), version, os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}
