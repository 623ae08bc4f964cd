package e2e

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"os/exec"
	"strconv"
	"testing"
	"time"
)

// startRedis runs redis-server on a loopback port with an append-only file in a
// temporary directory, and returns its address once it answers.
func startRedis(tb testing.TB) (addr string) {
	tb.Helper()
	binary, err := exec.LookPath("redis-server")
	if err != nil {
		tb.Fatal("redis-server is not installed; on Debian and Ubuntu: apt-get install redis-server")
	}
	port := freePort(tb)
	server := startProcess(tb, "redis", binary, []string{
		"--bind", "127.0.0.1",
		"--port", strconv.Itoa(port),
		"--dir", tb.TempDir(),
		"--appendonly", "yes",
		"--appendfsync", "always",
		"--save", "",
	}, nil)
	addr = loopback(port)
	waitFor(tb, 10*time.Second, "redis answers PING", func() bool {
		return server.Running() && redisAnswers(tb.Context(), addr)
	})
	return addr
}

// pendingMessages returns how many messages of a stream the group has received and not
// acknowledged (XPENDING).
func pendingMessages(tb testing.TB, addr, stream, group string) int {
	tb.Helper()
	conn, err := new(net.Dialer).DialContext(tb.Context(), "tcp", addr)
	if err != nil {
		tb.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(5 * time.Second))
	if _, err := fmt.Fprintf(conn, "XPENDING %s %s\r\n", stream, group); err != nil {
		tb.Fatal(err)
	}
	var fields, n int // an array that begins with the number
	if _, err := fmt.Fscanf(bufio.NewReader(conn), "*%d\r\n:%d\r\n", &fields, &n); err != nil {
		tb.Fatalf("XPENDING %s %s: %v", stream, group, err)
	}
	return n
}

func redisAnswers(ctx context.Context, addr string) bool {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
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
