package supervise

import (
	"cmp"
	"context"
	"errors"
	"os"
	"slices"
	"syscall"
	"time"

	"github.com/tokenagent/tokenagent/agent"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/exitcode"
	"github.com/tokenagent/tokenagent/internal/rotation"
	"github.com/tokenagent/tokenagent/pkg/verify"
)

// A program that fails soon after a restart may fail because of the restart: for example, a
// port may not be free yet. If exec ended then, a rotation would become an outage. So exec
// tries to start the program again for about three minutes.
const (
	soon       = 10 * time.Second // after a start
	firstPause = time.Second      // before the first try; doubles with each try
	longPause  = time.Minute
	maxTries   = 8
)

// programEnded is the exit code with which Run ends.
type programEnded int

func (programEnded) Error() string { return "the program has ended" }

// Run starts the program and keeps its token in step with the source until the program
// ends. The error that it returns has the exit code of the program; it is nil for 0.
//
// signals delivers the signals to this process. Run forwards each one to the program. After
// SIGTERM, SIGINT or Options.StopSignal, Run does not start the program again. If the
// program does not run when one of these three arrives, Run ends with 128+n, as if the
// signal had ended the program.
func (s *Supervisor) Run(signals <-chan os.Signal) error {
	for {
		updated := s.source.Updated() // before look, so that no change is missed
		now := time.Now()
		s.look(now)
		err := s.act(now, signals)
		s.publish()
		if err == nil {
			var alarm <-chan time.Time // nil if no time is awaited
			if wake := earliest(s.deadline, s.next.due); !wake.IsZero() {
				alarm = time.After(time.Until(wake))
			}
			var ended <-chan struct{} // nil while the program does not run
			if s.prog != nil {
				ended = s.prog.ended()
			}
			select {
			case <-updated:
			case <-alarm:
			case sig := <-signals:
				err = s.handle(sig)
			case <-ended:
				err = s.programEnd(time.Now())
			}
		}
		if err != nil {
			s.publish()
			if code, ok := errors.AsType[programEnded](err); ok {
				return exitcode.With(int(code), nil)
			}
			return err
		}
	}
}

// look notes whether the program must get another token, and when.
func (s *Supervisor) look(now time.Time) {
	status := s.source.Status() // before Token: a promotion in between still shows the token as staged
	before := s.staged
	s.staged = stagedSince(status, before, now)
	token, err := s.source.Token()
	lost := s.lost
	s.lost = err != nil
	switch {
	case s.ending:
		s.next = change{}
	case err != nil:
		if !lost && s.token != "" {
			s.log.Warn("the source no longer has a current token; the program keeps its token until there is a new one", "error", err)
		}
		s.next = change{}
	case token == s.token:
		if s.next.token != "" {
			s.log.Info("the source is back at the token of the program; no restart")
		}
		s.next = change{}
	case token != s.next.token:
		// If the token was staged, the delay counts from when it was first seen there. A
		// token that has just become current is only in before.
		known := cmp.Or(before[fingerprint(token)], now)
		s.next = change{token, known.Add(s.o.Delay)}
		if s.phase != waiting {
			s.log.Info("the token has changed", "fingerprint", fingerprint(token), "due_in", max(0, s.next.due.Sub(now)).Round(time.Millisecond))
		}
	}
	s.replaceRevoked(status, now)
}

// stagedSince returns the times at which the next and listed tokens of status were first
// seen, by fingerprint.
func stagedSince(status agent.Status, before map[string]time.Time, now time.Time) map[string]time.Time {
	staged := map[string]time.Time{}
	for _, src := range status.Sources {
		for _, t := range src.Tokens {
			if t.Slot == rotation.Next.String() || t.Slot == rotation.Listed.String() {
				staged[t.Fingerprint] = cmp.Or(before[t.Fingerprint], now)
			}
		}
	}
	return staged
}

// replaceRevoked makes the next token due at once if the source revokes the token of the
// program.
//
// A delay would not help. Receivers that have read the revocation refuse the old token, and
// know the new token from the same content. The other receivers refuse the new token until
// they read that content, unless it was staged.
func (s *Supervisor) replaceRevoked(status agent.Status, now time.Time) {
	if s.next.token == "" || s.phase == waiting || !now.Before(s.next.due) {
		return
	}
	// Call Verify only if a token is revoked, because the agent's metrics count each call.
	if !slices.ContainsFunc(status.Sources, func(src agent.SourceStatus) bool { return src.Revoked > 0 }) {
		return
	}
	if _, err := s.source.Verify(context.Background(), s.token); errors.Is(err, verify.ErrRevokedToken) {
		s.log.Warn("the token of the program is revoked; the program gets the new one at once", "fingerprint", fingerprint(s.token))
		s.next.due = now
	}
}

// act starts, stops or kills the program if that is due.
func (s *Supervisor) act(now time.Time, signals <-chan os.Signal) error {
	due := s.next.token != "" && !now.Before(s.next.due)
	switch s.phase {
	case waiting:
		switch {
		case s.next.token != "": // the first token has no delay
			s.takeNext()
			return s.start(signals)
		case !s.o.Wait:
			return errors.New("the source has no current token, because it is revoked; put a new one there, or give --wait-for-source")
		}
	case running:
		if due {
			s.change(now)
		}
	case stopping:
		if due { // the next start uses this token already
			s.takeNext()
		}
		if !s.deadline.IsZero() && !now.Before(s.deadline) {
			s.log.Warn("the program did not end in time and is killed", "stop_timeout", s.o.StopTimeout)
			s.deadline = time.Time{}
			s.metrics.kills.Inc()
			s.prog.kill()
		}
	case pausing:
		failed := s.tries > 0 // otherwise the program was stopped for a change
		switch {
		case due && failed: // the new token may be the fix, so count the tries from 0
			s.log.Info("the program is started with the new token", "fingerprint", fingerprint(s.next.token))
			s.tries = 0
			s.metrics.changes.Inc()
		case now.Before(s.deadline):
			return nil
		case failed:
			s.metrics.retries.Inc()
		}
		if due {
			s.takeNext()
		}
		return s.start(signals)
	}
	return nil
}

// takeNext makes the next token the token of the program.
func (s *Supervisor) takeNext() {
	s.metrics.token.DeleteLabelValues(fingerprint(s.token))
	s.token, s.next = s.next.token, change{}
	s.metrics.token.WithLabelValues(fingerprint(s.token)).Set(1)
}

// change gives the program its new token. It stops the program, so that act starts it
// again, or sends Options.ChangeSignal.
func (s *Supervisor) change(now time.Time) {
	s.takeNext()
	if sig := s.o.ChangeSignal; sig != nil {
		s.log.Info("the program gets a signal for the new token", "signal", sig.String(), "fingerprint", fingerprint(s.token))
		s.metrics.signals.Inc()
		s.prog.signal(sig)
		return
	}
	s.log.Info("the program is restarted with the new token", "fingerprint", fingerprint(s.token))
	s.phase, s.deadline, s.tries = stopping, now.Add(s.o.StopTimeout), 0
	s.metrics.changes.Inc()
	s.prog.signal(s.o.StopSignal)
}

// start starts the program, unless a signal that ends this process is pending.
func (s *Supervisor) start(signals <-chan os.Signal) error {
	for len(signals) > 0 {
		if err := s.handle(<-signals); err != nil {
			return err
		}
	}
	first := s.phase == waiting
	prog, err := s.launch(s.token)
	s.started, s.toldToEnd, s.restarted = time.Now(), false, !first
	switch {
	case err != nil && first:
		return err
	case err != nil:
		return s.pause(s.started, exitcode.Of(err), err)
	}
	s.prog, s.phase, s.deadline = prog, running, time.Time{}
	s.log.Info("program started", "fingerprint", fingerprint(s.token))
	return nil
}

// programEnd is called when the program has ended. It returns the error with which Run
// ends, or nil if the program must be started again.
func (s *Supervisor) programEnd(now time.Time) error {
	code := s.prog.code()
	s.prog, s.deadline = nil, time.Time{}
	switch {
	case s.ending:
		return programEnded(code)
	case s.phase == stopping:
		s.phase, s.deadline = pausing, now
		return nil
	case s.restarted && !s.toldToEnd && code != 0 && now.Sub(s.started) < soon:
		return s.pause(now, code, nil)
	default:
		s.log.Info("the program has ended", "code", code)
		return programEnded(code)
	}
}

// pause makes act start the program again later. The program ended with code, or could not
// be started because of err. After maxTries, pause returns the error with which Run ends.
func (s *Supervisor) pause(now time.Time, code int, err error) error {
	if s.tries == maxTries {
		s.log.Error("the program keeps failing since its restart; exec gives up", "code", code, "tries", s.tries)
		if err != nil {
			return err
		}
		return programEnded(code)
	}
	pause := min(firstPause<<s.tries, longPause)
	s.tries++
	s.phase, s.deadline = pausing, now.Add(pause)
	s.log.Warn("the program failed soon after its restart; exec starts it again", "code", code, "in", pause, "try", s.tries, "of", maxTries)
	return nil
}

// handle forwards a signal that was sent to this process.
func (s *Supervisor) handle(sig os.Signal) error {
	ends := sig == syscall.SIGTERM || sig == os.Interrupt || sig == s.o.StopSignal
	first := ends && !s.ending
	if first {
		s.ending, s.next = true, change{}
	}
	if s.prog == nil {
		if n, ok := sig.(syscall.Signal); ok && ends {
			s.log.Info("ended by a signal while the program was not running", "signal", sig.String())
			return programEnded(128 + int(n))
		}
		s.log.Debug("no program to forward the signal to", "signal", sig.String())
		return nil
	}
	if first && s.phase == stopping && sig == s.o.StopSignal {
		// act has sent this signal already. Many programs, including daprd, end at once
		// when they get a second one.
		s.log.Debug("the program is stopping already", "signal", sig.String())
		return nil
	}
	// The other signals, such as WINCH and CONT, do not end a program.
	s.toldToEnd = s.toldToEnd || ends || sig == syscall.SIGQUIT
	s.prog.forward(sig)
	return nil
}

// earliest returns the earlier of two times. The zero Time means never.
func earliest(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

func fingerprint(token string) string { return verify.Fingerprint(verify.Digest(token)) }
