package e2e

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// A process is a running child whose output goes to a file. It never outlives the test:
// its process group is killed when the test ends, and the kernel kills it if the test
// binary dies.
type process struct {
	t      testing.TB
	name   string
	cmd    *exec.Cmd
	log    string
	exited chan struct{}
	stop   sync.Once
}

// startProcess runs path with args and env (in addition to PATH and HOME) until Stop
// or the end of the test.
func startProcess(tb testing.TB, name, path string, args, env []string) *process {
	tb.Helper()
	p := &process{t: tb, name: name, log: filepath.Join(tb.TempDir(), name+".log"), exited: make(chan struct{})}
	out, err := os.Create(p.log)
	if err != nil {
		tb.Fatal(err)
	}
	defer out.Close() // the child has its own copy
	p.cmd = exec.Command(path, args...)
	p.cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + os.Getenv("HOME")}, env...)
	p.cmd.Stdout, p.cmd.Stderr = out, out
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := p.cmd.Start(); err != nil {
		tb.Fatalf("start %s: %v", name, err)
	}
	go func() {
		defer close(p.exited)
		_ = p.cmd.Wait() // how it ended is in the output and in ExitCode
	}()
	tb.Cleanup(func() {
		p.Stop()
		if tb.Failed() {
			tb.Logf("end of %s's output:\n%s", name, lastLines(p.Output(), 25))
		}
	})
	return p
}

// Stop sends SIGTERM, waits for the end, and kills the rest of the process group.
func (p *process) Stop() {
	p.stop.Do(func() {
		_ = p.cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-p.exited:
		case <-time.After(15 * time.Second):
			p.t.Errorf("%s did not end within 15s of SIGTERM", p.name)
		}
		if err := syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
			p.t.Errorf("kill what is left of %s: %v", p.name, err)
		}
		<-p.exited
	})
}

// Kill ends the process as a crash does, and waits.
func (p *process) Kill() {
	_ = p.cmd.Process.Kill()
	<-p.exited
}

// Running reports whether the process has not ended yet.
func (p *process) Running() bool {
	select {
	case <-p.exited:
		return false
	default:
		return true
	}
}

// Pid is the process's id; it stays the same after the end.
func (p *process) Pid() int { return p.cmd.Process.Pid }

// ExitCode waits for the end; -1 means that a signal ended the process.
func (p *process) ExitCode() int {
	<-p.exited
	return p.cmd.ProcessState.ExitCode()
}

// Output is everything that the process has written so far.
func (p *process) Output() string {
	data, err := os.ReadFile(p.log)
	if err != nil {
		p.t.Error(err)
	}
	return string(data)
}

func lastLines(text string, n int) string {
	lines := strings.Split(strings.TrimRight(text, "\n"), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}

// takenPorts are the ports that freePort has returned. They belong to the machine, so all
// tests share them.
var takenPorts sync.Map

// freePort returns a loopback port that nobody listens on and that it has not
// returned before. It stays below Linux's ephemeral range (from 32768), so
// that no outgoing connection takes the port before its server does.
func freePort(tb testing.TB) int {
	tb.Helper()
	for range 100 {
		port := 20000 + rand.IntN(12000)
		if _, again := takenPorts.LoadOrStore(port, true); again {
			continue
		}
		l, err := new(net.ListenConfig).Listen(tb.Context(), "tcp", loopback(port))
		if err != nil {
			continue
		}
		_ = l.Close()
		return port
	}
	tb.Fatal("no free loopback port in 100 tries")
	return 0
}

// listen opens a loopback port for a server in this process.
func listen(tb testing.TB) net.Listener {
	tb.Helper()
	l, err := new(net.ListenConfig).Listen(tb.Context(), "tcp", loopback(0))
	if err != nil {
		tb.Fatal(err)
	}
	return l
}

// portOf is where l listens.
func portOf(l net.Listener) int { return l.Addr().(*net.TCPAddr).Port }

// loopback is the address of a port on this machine, as host:port.
func loopback(port int) string { return fmt.Sprintf("127.0.0.1:%d", port) }
