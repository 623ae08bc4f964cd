package process

import (
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
)

// taken are the ports given out. They are the machine's, whichever test has
// them, so there is one map of them.
//
//nolint:gochecknoglobals // see above
var taken sync.Map

// FreePort returns a loopback port that nobody listens on and that it has not
// returned before. It stays below Linux's ephemeral range (from 32768), so
// that no outgoing connection takes the port before its server does.
func FreePort(tb testing.TB) int {
	tb.Helper()
	for range 100 {
		port := 20000 + rand.IntN(12000) //nolint:gosec // a port, not a secret
		if _, again := taken.LoadOrStore(port, true); again {
			continue
		}
		l, err := new(net.ListenConfig).Listen(tb.Context(), "tcp", Loopback(port))
		if err != nil {
			continue
		}
		_ = l.Close()
		return port
	}
	tb.Fatal("no free loopback port in 100 tries")
	return 0
}

// Listen opens a loopback port for a server in this process.
func Listen(tb testing.TB) net.Listener {
	tb.Helper()
	l, err := new(net.ListenConfig).Listen(tb.Context(), "tcp", Loopback(0))
	if err != nil {
		tb.Fatal(err)
	}
	return l
}

// Port is where l listens.
func Port(l net.Listener) int { return l.Addr().(*net.TCPAddr).Port }

// Loopback is the address of a port on this machine, as host:port.
func Loopback(port int) string { return fmt.Sprintf("127.0.0.1:%d", port) }
