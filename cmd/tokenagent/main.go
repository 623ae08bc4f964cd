// Command tokenagent keeps the accepted tokens of a service in step with their source, and
// verifies tokens for apps that cannot embed package agent.
package main

import (
	"context"
	"os"

	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/cli"
)

// version is set by the linker. If it is empty, the version that the build recorded counts.
var version string

func main() {
	os.Exit(cli.Main(context.Background(), version, os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}
