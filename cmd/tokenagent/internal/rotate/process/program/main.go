// Command program is tokenagent for the tests of package process: it takes the service account
// of its pod from the directory in TEST_ACCOUNT.
package main

import (
	"context"
	"os"

	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/cli"
	"github.com/tokenagent/tokenagent/internal/podaccount"
)

func main() {
	podaccount.Dir = os.Getenv("TEST_ACCOUNT")
	os.Exit(cli.Main(context.Background(), "v0-test", os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}
