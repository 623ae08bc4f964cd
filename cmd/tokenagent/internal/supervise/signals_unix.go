//go:build unix

package supervise

import (
	"context"
	"os"
	"os/signal"
	"slices"
	"strings"
	"sync"
	"syscall"
)

// forwarded are the signals that go on to the program. Those that the kernel
// sends for a fault of our own, and those of job control, concern this process
// alone; and SIGHUP is for the source.
func forwarded() []os.Signal {
	return []os.Signal{
		syscall.SIGTERM, syscall.SIGINT, syscall.SIGQUIT, syscall.SIGUSR1, syscall.SIGUSR2,
		syscall.SIGWINCH, syscall.SIGALRM, syscall.SIGCONT,
	}
}

// ParseSignal returns the signal of that name, as in TERM or SIGTERM.
func ParseSignal(name string) (sig os.Signal, ok bool) {
	names := map[string]os.Signal{
		"TERM": syscall.SIGTERM, "INT": syscall.SIGINT, "QUIT": syscall.SIGQUIT, "HUP": syscall.SIGHUP,
		"USR1": syscall.SIGUSR1, "USR2": syscall.SIGUSR2, "WINCH": syscall.SIGWINCH, "ALRM": syscall.SIGALRM,
		"CONT": syscall.SIGCONT, "KILL": syscall.SIGKILL,
	}
	sig, ok = names[strings.TrimPrefix(strings.ToUpper(name), "SIG")]
	return sig, ok
}

// Catch takes the signals to this process from now on, until stop: SIGHUP comes
// on hangup, those for the program on signals.
//
// The command line ends ctx on SIGTERM and SIGINT, and began to catch these
// before Catch was called. One that came in between shows only as the end of
// ctx, and is delivered as SIGTERM.
func Catch(ctx context.Context) (signals, hangup <-chan os.Signal, stop func()) {
	raw, out := make(chan os.Signal, 64), make(chan os.Signal)
	hup, done := make(chan os.Signal, 1), make(chan struct{})
	signal.Notify(raw, forwarded()...)
	signal.Notify(hup, syscall.SIGHUP)
	var relaying sync.WaitGroup
	relaying.Go(func() { relay(ctx, raw, out, done) })
	return out, hup, func() {
		signal.Stop(raw)
		signal.Stop(hup)
		close(done)
		relaying.Wait()
	}
}

// relay passes raw on to out until done, and the end of ctx too where no signal
// explains it.
func relay(ctx context.Context, raw chan os.Signal, out chan<- os.Signal, done <-chan struct{}) {
	var queue []os.Signal
	ctxDone, explained := ctx.Done(), false
	take := func(sig os.Signal) {
		explained = explained || sig == syscall.SIGTERM || sig == syscall.SIGINT
		queue = append(queue, sig)
	}
	for {
		var first os.Signal
		var to chan<- os.Signal
		if len(queue) > 0 {
			first, to = queue[0], out
		}
		select {
		case <-done:
			return
		case to <- first:
			queue = slices.Delete(queue, 0, 1)
		case sig := <-raw:
			take(sig)
		case <-ctxDone:
			ctxDone = nil
			// A signal is handed to all who want it under one lock, which this
			// takes as well. So raw has it by now, if it ever will.
			signal.Notify(raw, syscall.SIGTERM)
			for len(raw) > 0 {
				take(<-raw)
			}
			if !explained {
				take(syscall.SIGTERM)
			}
		}
	}
}
