// Command tokenagent keeps the accepted tokens of a service in step with where
// they are kept, and answers for apps that cannot embed package agent.
package main

import (
	"context"
	"os"

	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/cli"
)

// version is set by the linker; empty means that of the build's own record.
var version string

func main() {
	os.Exit(cli.Main(context.Background(), version, os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}
