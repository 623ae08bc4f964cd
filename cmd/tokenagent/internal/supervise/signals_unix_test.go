//go:build unix

package supervise

import (
	"os"
	"syscall"
	"testing"
)

// If a signal ended the context before Catch was called, Run gets a SIGTERM for it. If it
// came later, Run has it already.
func TestMissedSignalIsReplaced(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		ends []os.Signal // what came after Catch was called
		want int
	}{
		"before Catch": {nil, 1},
		"after Catch":  {[]os.Signal{syscall.SIGINT}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			caught, ends := make(chan os.Signal, maxPending), make(chan os.Signal, 1)
			for _, sig := range c.ends {
				ends <- sig
			}
			replaceMissed(caught, ends)
			if len(caught) != c.want {
				t.Fatalf("%d signals, want %d", len(caught), c.want)
			}
			if c.want == 1 {
				if sig := <-caught; sig != syscall.SIGTERM {
					t.Errorf("the signal is %v, want SIGTERM", sig)
				}
			}
		})
	}
}

// A full channel must not block the end of the process.
func TestMissedSignalDoesNotWaitForRoom(t *testing.T) {
	t.Parallel()
	caught := make(chan os.Signal, 1)
	caught <- syscall.SIGUSR1
	replaceMissed(caught, make(chan os.Signal, 1))
	if sig := <-caught; sig != syscall.SIGUSR1 {
		t.Errorf("the signal is %v, want SIGUSR1", sig)
	}
}

func TestParseSignal(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]os.Signal{"TERM": syscall.SIGTERM, "SIGUSR1": syscall.SIGUSR1, "hup": syscall.SIGHUP} {
		if got, ok := ParseSignal(name); got != want || !ok {
			t.Errorf("%q: %v, %v, want %v", name, got, ok, want)
		}
	}
	for _, name := range []string{"", "15", "SIG", "x"} {
		if got, ok := ParseSignal(name); ok {
			t.Errorf("%q: %v", name, got)
		}
	}
}
