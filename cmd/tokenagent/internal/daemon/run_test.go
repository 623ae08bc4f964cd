//go:build unix

package daemon

import (
	"context"
	"log/slog"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/tokenagent/tokenagent/agent"
)

type daemonUnderTest struct {
	main, admin string
	stop        context.CancelFunc
	ended       chan error
	log         *logbook
}

// runDaemon runs Run on free ports.
func runDaemon(t *testing.T, a *agent.Agent, o Options) *daemonUnderTest {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	d := &daemonUnderTest{stop: stop, ended: make(chan error, 1), log: &logbook{}}
	o.Listen, o.AdminListen = freeAddr(t), freeAddr(t)
	d.main, d.admin = "http://"+o.Listen, "http://"+o.AdminListen
	o.Logger = slog.New(slog.NewTextHandler(d.log, nil))
	o.DrainTimeout = 10 * time.Second
	ended := make(chan struct{})
	go func() { d.ended <- Run(ctx, a, o); close(ended) }()
	t.Cleanup(func() { stop(); <-ended })
	until(t, "it listens", func() bool { return strings.Count(d.log.String(), "listening") == 2 })
	return d
}

func freeAddr(t *testing.T) string {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func TestAddressInUseNamesItsFlag(t *testing.T) {
	t.Parallel()
	a, _ := startAgent(t, good)
	d := runDaemon(t, a, Options{})
	taken := strings.TrimPrefix(d.main, "http://")
	for flag, o := range map[string]Options{
		"--listen: ":       {Listen: taken, AdminListen: freeAddr(t)},
		"--admin-listen: ": {Listen: freeAddr(t), AdminListen: taken},
	} {
		o.Logger = slog.New(slog.DiscardHandler)
		if err := Run(t.Context(), a, o); err == nil || !strings.HasPrefix(err.Error(), flag) {
			t.Errorf("%s: %v", flag, err)
		}
	}
}

// TestHangupReads is not parallel: the signal reaches every Run there is.
func TestHangupReads(t *testing.T) {
	a, path := startAgent(t, good)
	d := runDaemon(t, a, Options{})
	write(t, path, "short")
	if err := syscall.Kill(os.Getpid(), syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	until(t, "the fault is logged", func() bool { return strings.Contains(d.log.String(), "source not taken over") })
	if strings.Contains(d.log.String(), "CANARY") {
		t.Error("the log shows a token")
	}
}
