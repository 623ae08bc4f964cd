// Package redis runs a throw-away redis-server that keeps what it was given.
package redis

import (
	"io"
	"net"
	"os/exec"
	"strconv"
	"testing"
	"time"

	"github.com/tokenagent/tokenagent/test/e2e/internal/poll"
	"github.com/tokenagent/tokenagent/test/e2e/internal/process"
)

// Start runs redis-server on a loopback port with an append-only file in a
// temporary directory, and returns its address once it answers.
func Start(t testing.TB) (addr string) {
	t.Helper()
	binary, err := exec.LookPath("redis-server")
	if err != nil {
		t.Fatal("redis-server is not installed; on Debian and Ubuntu: apt-get install redis-server")
	}
	port := process.FreePort(t)
	server := process.Start(t, "redis", binary, []string{
		"--bind", "127.0.0.1",
		"--port", strconv.Itoa(port),
		"--dir", t.TempDir(),
		"--appendonly", "yes",
		"--appendfsync", "always",
		"--save", "",
	}, nil)
	addr = process.Loopback(port)
	poll.Until(t, 10*time.Second, "redis answers PING", func() bool {
		return server.Running() && answers(addr)
	})
	return addr
}

func answers(addr string) bool {
	conn, err := net.DialTimeout("tcp", addr, time.Second)
	if err != nil {
		return false
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(time.Second))
	if _, err := io.WriteString(conn, "PING\r\n"); err != nil {
		return false
	}
	const pong = "+PONG\r\n"
	reply := make([]byte, len(pong))
	_, err = io.ReadFull(conn, reply)
	return err == nil && string(reply) == pong
}
