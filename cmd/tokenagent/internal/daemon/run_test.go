//go:build unix

package daemon

import (
	"log/slog"
	"os"
	"strings"
	"syscall"
	"testing"
)

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
