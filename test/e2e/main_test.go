// Package e2e runs the real sender, daprd, against apps that tokenagent protects.
package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// scratch is the directory of the programs that the tests build. It exists until the
// last test has ended.
var scratch string

func TestMain(m *testing.M) {
	var err error
	if scratch, err = os.MkdirTemp("", "tokenagent-e2e-"); err != nil {
		fmt.Fprintln(os.Stderr, "e2e:", err)
		os.Exit(1)
	}
	code := m.Run()
	_ = os.RemoveAll(scratch)
	os.Exit(code)
}

// daprVersion is the version of daprd that these tests run: DAPR, or else the newest
// of daprd/versions.
var daprVersion = sync.OnceValues(func() (string, error) {
	if version := os.Getenv("DAPR"); version != "" {
		return version, nil
	}
	versions, err := os.ReadFile("daprd/versions")
	all := strings.Fields(string(versions))
	if err != nil || len(all) == 0 {
		return "", fmt.Errorf("daprd/versions names no version: %w", err)
	}
	return all[len(all)-1], nil
})

// daprdBinary is the path of that daprd, built at the first call unless cached.
var daprdBinary = sync.OnceValues(func() (string, error) {
	version, err := daprVersion()
	if err != nil {
		return "", err
	}
	build := exec.Command("./daprd/build.sh", version) // the path on standard output
	build.Stderr = os.Stderr
	out, err := build.Output()
	return strings.TrimSpace(string(out)), err
})

// traefikBinary is the path of Traefik, in the same way.
var traefikBinary = sync.OnceValues(func() (string, error) {
	build := exec.Command("./traefik/build.sh")
	build.Stderr = os.Stderr
	out, err := build.Output()
	return strings.TrimSpace(string(out)), err
})

// tokenagentBinary is the path of the real program, built at the first call.
var tokenagentBinary = sync.OnceValues(func() (string, error) {
	path := filepath.Join(scratch, "tokenagent")
	build := exec.Command("go", "build", "-o", path, "./cmd/tokenagent")
	build.Dir = filepath.Join("..", "..")
	build.Stderr = os.Stderr
	return path, build.Run()
})

// built returns a binary's path or ends the test.
func built(tb testing.TB, binary func() (string, error)) string {
	tb.Helper()
	path, err := binary()
	if err != nil {
		tb.Fatalf("build: %v", err)
	}
	return path
}
