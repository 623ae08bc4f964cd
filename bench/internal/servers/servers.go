// Package servers runs the servers that the benchmarks measure as processes: tokenagent,
// a server that makes no decision, and nginx in front of either.
package servers

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// Programs holds the paths of the programs that [Build] built.
type Programs struct{ Tokenagent, Bare string }

const module = "github.com/tokenagent/tokenagent"

// Build builds the programs into dir, with the flags of a release. The working
// directory must be in the module of the benchmarks.
func Build(ctx context.Context, dir string) (Programs, error) {
	p := Programs{filepath.Join(dir, "tokenagent"), filepath.Join(dir, "bare")}
	for _, b := range []struct{ module, pkg, out string }{{module, "./cmd/tokenagent", p.Tokenagent}, {module + "/bench", "./cmd/bare", p.Bare}} {
		where, err := folder(ctx, b.module)
		if err != nil {
			return p, err
		}
		c := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags", "-s -w", "-o", b.out, b.pkg) //nolint:gosec // our own
		c.Dir, c.Env, c.Stderr = where, append(os.Environ(), "CGO_ENABLED=0"), os.Stderr
		if err := c.Run(); err != nil {
			return p, fmt.Errorf("build %s: %w", b.pkg, err)
		}
	}
	return p, nil
}

// Root returns the directory of the repository.
func Root(ctx context.Context) (string, error) { return folder(ctx, module) }

func folder(ctx context.Context, module string) (string, error) {
	out, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}", module).Output() //nolint:gosec // our own
	if err != nil {
		return "", fmt.Errorf("module %s not found; run this in bench/: %w", module, err)
	}
	return strings.TrimSpace(string(out)), nil
}

// An Addr is where a server listens.
type Addr struct{ Network, Address string }

// New returns an unused address: a socket in dir, or a port on 127.0.0.1.
func New(ctx context.Context, network, dir string) (Addr, error) {
	if network == "unix" {
		f, err := os.CreateTemp(dir, "*.sock")
		if err != nil {
			return Addr{}, err
		}
		return Addr{network, f.Name()}, errors.Join(f.Close(), os.Remove(f.Name()))
	}
	l, err := (&net.ListenConfig{}).Listen(ctx, network, "127.0.0.1:0")
	if err != nil {
		return Addr{}, err
	}
	return Addr{network, l.Addr().String()}, l.Close()
}

// Flag returns a in the form of tokenagent's flags and of grpc-go's target names.
func (a Addr) Flag() string {
	if a.Network == "unix" {
		return "unix://" + a.Address
	}
	return a.Address
}

// Nginx returns a in the form of nginx's directives.
func (a Addr) Nginx() string { return strings.Replace(a.Flag(), "unix://", "unix:", 1) }

// Start starts a program, and returns when it accepts connections at addr. The caller
// calls stop to end it.
func Start(ctx context.Context, addr Addr, stdin io.Reader, path string, args ...string) (stop func(), err error) {
	var said strings.Builder
	c := exec.Command(path, args...) //nolint:gosec,noctx // our own programs and nginx; stop ends them
	c.Stdin, c.Stderr = stdin, &said
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := c.Start(); err != nil {
		return nil, err
	}
	ended := make(chan struct{})
	var how error
	go func() { how = c.Wait(); close(ended) }()
	stop = func() {
		_ = syscall.Kill(-c.Process.Pid, syscall.SIGKILL) // the program may have ended already
		<-ended
	}
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	late := time.After(20 * time.Second)
	for {
		select {
		case <-ended:
			return nil, fmt.Errorf("%s: %w: %s", filepath.Base(path), how, said.String())
		case <-ctx.Done():
			stop()
			return nil, ctx.Err()
		case <-late:
			stop()
			return nil, fmt.Errorf("%s does not accept connections at %s", filepath.Base(path), addr.Address)
		case <-tick.C:
			if conn, err := (&net.Dialer{}).DialContext(ctx, addr.Network, addr.Address); err == nil {
				return stop, conn.Close()
			}
		}
	}
}
