//go:build unix

package supervise

import (
	"context"
	"os"
	"os/signal"
	"slices"
	"syscall"
	"testing"
)

// TestRelay has the context end, as the command line has it end on a signal,
// before and after the signal itself.
func TestRelay(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		raw, want []os.Signal
	}{
		"a signal that came too early":   {nil, []os.Signal{syscall.SIGTERM}},
		"a signal that explains the end": {[]os.Signal{syscall.SIGUSR1, syscall.SIGINT}, []os.Signal{syscall.SIGUSR1, syscall.SIGINT}},
		"one that does not":              {[]os.Signal{syscall.SIGUSR1}, []os.Signal{syscall.SIGUSR1, syscall.SIGTERM}},
		"two of them":                    {[]os.Signal{syscall.SIGTERM, syscall.SIGTERM}, []os.Signal{syscall.SIGTERM, syscall.SIGTERM}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithCancel(t.Context())
			raw, out, done, ended := make(chan os.Signal, maxPending), make(chan os.Signal, maxPending), make(chan struct{}), make(chan struct{})
			defer signal.Stop(raw)
			for _, sig := range c.raw {
				raw <- sig
			}
			cancel()
			go func() { relay(ctx, raw, out, done); close(ended) }()
			var got []os.Signal
			for range c.want {
				got = append(got, <-out)
			}
			raw <- syscall.SIGUSR2 // nothing more stands before this one
			got = append(got, <-out)
			if !slices.Equal(got, append(c.want, syscall.SIGUSR2)) {
				t.Errorf("got %v", got)
			}
			close(done)
			<-ended
		})
	}
}

func TestParseSignal(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]os.Signal{"TERM": syscall.SIGTERM, "SIGUSR1": syscall.SIGUSR1, "hup": syscall.SIGHUP, "": nil, "15": nil, "SEGV": nil} {
		if got, ok := ParseSignal(name); got != want || ok != (want != nil) {
			t.Errorf("%q: %v, %v", name, got, ok)
		}
	}
}
