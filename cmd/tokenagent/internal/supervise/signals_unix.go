//go:build unix

package supervise

import (
	"context"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// ParseSignal returns the signal with a name such as TERM or SIGTERM.
func ParseSignal(name string) (sig os.Signal, ok bool) {
	n := unix.SignalNum("SIG" + strings.TrimPrefix(strings.ToUpper(name), "SIG"))
	return n, n != 0
}

// maxPending is the number of signals that can wait for Run. Package signal drops more.
const maxPending = 64

// Catch catches the signals to this process until stop is called. hangup delivers SIGHUP,
// and signals delivers those for the program. If a SIGTERM or SIGINT ended ctx before Catch
// was called, signals delivers a SIGTERM instead of it.
func Catch(ctx context.Context) (signals, hangup <-chan os.Signal, stop func()) {
	caught, hup, ends := make(chan os.Signal, maxPending), make(chan os.Signal, 1), make(chan os.Signal, 1)
	// SIGTSTP, SIGTTIN and SIGTTOU concern only this process, as do the signals that the
	// kernel sends for errors of this process.
	signal.Notify(caught, syscall.SIGTERM, syscall.SIGINT, syscall.SIGQUIT, syscall.SIGUSR1, syscall.SIGUSR2,
		syscall.SIGWINCH, syscall.SIGALRM, syscall.SIGCONT)
	signal.Notify(hup, syscall.SIGHUP)
	signal.Notify(ends, syscall.SIGTERM, syscall.SIGINT)
	unwatch := context.AfterFunc(ctx, func() { replaceMissed(caught, ends) })
	return caught, hup, func() {
		unwatch()
		signal.Stop(caught)
		signal.Stop(hup)
		signal.Stop(ends)
	}
}

// replaceMissed sends a SIGTERM to caught if ends has no signal that explains the end of
// the context.
func replaceMissed(caught chan<- os.Signal, ends chan os.Signal) {
	// Package signal delivers a signal to all its channels under one lock, which Stop takes,
	// too. So a signal that ended the context after Catch is in ends by now.
	signal.Stop(ends)
	if len(ends) == 0 {
		select {
		case caught <- syscall.SIGTERM:
		default: // as many signals are pending as package signal would keep
		}
	}
}
