//go:build unix

package supervise

import (
	"context"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"
)

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

// maxPending is how many signals can wait for Run. More are lost, as package signal
// loses them.
const maxPending = 64

// Catch catches the signals to this process until stop is called: SIGHUP on hangup, those
// for the program on signals.
//
// The command line ends ctx on SIGTERM and SIGINT, and catches these before Catch is
// called. One that came in between shows only as the end of ctx, and is delivered as
// SIGTERM.
func Catch(ctx context.Context) (signals, hangup <-chan os.Signal, stop func()) {
	caught, out := make(chan os.Signal, maxPending), make(chan os.Signal, maxPending)
	hup, done := make(chan os.Signal, 1), make(chan struct{})
	// The signals of job control concern this process alone, as do those that the kernel
	// sends for an error of our own.
	signal.Notify(caught, syscall.SIGTERM, syscall.SIGINT, syscall.SIGQUIT, syscall.SIGUSR1, syscall.SIGUSR2,
		syscall.SIGWINCH, syscall.SIGALRM, syscall.SIGCONT)
	signal.Notify(hup, syscall.SIGHUP)
	var relaying sync.WaitGroup
	relaying.Go(func() { relay(ctx, caught, out, done) })
	return out, hup, func() {
		signal.Stop(caught)
		signal.Stop(hup)
		close(done)
		relaying.Wait()
	}
}

// relay passes caught signals on to out until done. If ctx ends and no signal explains
// that, it adds a SIGTERM.
func relay(ctx context.Context, caught chan os.Signal, out chan<- os.Signal, done <-chan struct{}) {
	explained := false
	pass := func(sig os.Signal) {
		explained = explained || sig == syscall.SIGTERM || sig == syscall.SIGINT
		select {
		case out <- sig:
		default:
		}
	}
	for ctxDone := ctx.Done(); ; {
		select {
		case <-done:
			return
		case sig := <-caught:
			pass(sig)
		case <-ctxDone:
			ctxDone = nil
			// Package signal delivers a signal to all its channels under one lock, which
			// Notify takes too. So a signal that ended ctx has reached caught by now.
			signal.Notify(caught, syscall.SIGTERM)
			for len(caught) > 0 {
				pass(<-caught)
			}
			if !explained {
				pass(syscall.SIGTERM)
			}
		}
	}
}
