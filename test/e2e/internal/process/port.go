package process

import (
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
)

var (
	portsMu sync.Mutex
	ports   = map[int]bool{}
)

// FreePort returns a loopback port that nobody listens on and that it has not
// returned before. It stays below Linux's ephemeral range (from 32768), so
// that no outgoing connection takes the port before its server does.
func FreePort(t testing.TB) int {
	t.Helper()
	portsMu.Lock()
	defer portsMu.Unlock()
	for range 100 {
		port := 20000 + rand.IntN(12000)
		if ports[port] {
			continue
		}
		l, err := net.Listen("tcp", Loopback(port))
		if err != nil {
			continue
		}
		_ = l.Close()
		ports[port] = true
		return port
	}
	t.Fatal("no free loopback port in 100 tries")
	return 0
}

// Loopback is the address of a port on this machine, as host:port.
func Loopback(port int) string { return fmt.Sprintf("127.0.0.1:%d", port) }
