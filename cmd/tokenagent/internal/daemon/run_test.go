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
		if err := Run(t.Context(), single(a, o), o); err == nil || !strings.HasPrefix(err.Error(), flag) {
			t.Errorf("%s: %v", flag, err)
		}
	}
}

func TestHangupReads(t *testing.T) {
	t.Parallel()
	a, path := startAgent(t, good)
	hangup := make(chan os.Signal)
	d := runDaemon(t, a, Options{Hangup: hangup})
	write(t, path, "short")
	hangup <- syscall.SIGHUP
	until(t, "the fault is logged", func() bool { return strings.Contains(d.log.String(), "source not taken over") })
	if strings.Contains(d.log.String(), "CANARY") {
		t.Error("the log shows a token")
	}
}
