package supervise

import (
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

// A program that fails soon after a restart may fail because of it: a port that is not
// free yet, a neighbour that was busy. Ending then would turn a rotation into an outage,
// so the program is tried again, for about three minutes.
const (
	soon       = 10 * time.Second // a failure within this is put down to the restart
	firstPause = time.Second      // before the first new try; doubles
	longPause  = time.Minute
	maxTries   = 8
)

// programEnded is the exit code with which Run ends.
type programEnded int

func (programEnded) Error() string { return "the program has ended" }

// Run starts the program and keeps its token in step with the source until the program
// ends. The error that it returns has the exit code of the program; it is nil for 0.
//
// signals are those sent to this process. Each one is forwarded. After SIGTERM, SIGINT
// or Options.StopSignal nothing is started any more. If nothing runs when one of these
// comes, Run ends with 128+n, as if the signal had ended the program.
func (s *Supervisor) Run(signals <-chan os.Signal) error {
	alarm := time.NewTimer(0)
	defer alarm.Stop()
	for {
		updated := s.source.Updated() // before looking, so that no change is missed
		now := time.Now()
		s.look(now)
		err := s.act(now, signals)
		s.publish()
		if err == nil {
			if wake := earliest(s.deadline, s.due()); wake.IsZero() {
				alarm.Stop()
			} else {
				alarm.Reset(time.Until(wake))
			}
			var ended <-chan struct{} // nil while nothing runs
			if s.prog != nil {
				ended = s.prog.ended()
			}
			select {
			case <-updated:
			case <-alarm.C:
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

// look notes whether the program is to get another token, and when.
func (s *Supervisor) look(now time.Time) {
	status := s.source.Status() // before the token, which may be promoted in between
	before := s.staged
	s.staged = stagedSince(status, before, now)
	token, err := s.source.Token()
	lost := s.lost
	s.lost = err != nil
	switch {
	case s.ending:
		s.next = nil
	case err != nil:
		if !lost && s.token != "" {
			s.log.Warn("the source has no current token any more; the program keeps the one it has until a new one comes", "error", err)
		}
		s.next = nil
	case token == s.token:
		if s.next != nil {
			s.log.Info("the token is again the one that the program has; no restart")
		}
		s.next = nil
	case s.next == nil || s.next.token != token:
		// If receivers saw it staged, the delay counts from then. A token that has just
		// become current is staged no more.
		known := earliest(s.staged[fingerprint(token)], before[fingerprint(token)])
		if known.IsZero() {
			known = now
		}
		s.next = &change{token, known.Add(s.o.Delay)}
		if s.phase != waiting {
			s.log.Info("the token has changed", "fingerprint", fingerprint(token), "due_in", max(0, s.next.due.Sub(now)).Round(time.Millisecond))
		}
	}
	s.replaceRevoked(status, now)
}

// stagedSince returns the tokens that receivers accept by status although they are not
// current, by fingerprint, and since when.
func stagedSince(status agent.Status, before map[string]time.Time, now time.Time) map[string]time.Time {
	staged := map[string]time.Time{}
	for _, src := range status.Sources {
		for _, t := range src.Tokens {
			if t.Slot != rotation.Next.String() && t.Slot != rotation.Listed.String() {
				continue
			}
			staged[t.Fingerprint] = now
			if since, ok := before[t.Fingerprint]; ok {
				staged[t.Fingerprint] = since
			}
		}
	}
	return staged
}

// replaceRevoked makes the next token due at once if the source revokes the one that the
// program has.
//
// A receiver that has read the revocation refuses the old token, and knows the new one by
// the same content. A receiver that has not read it still accepts the old token; it
// refuses the new one for a moment, unless it saw that staged. Waiting would not help: at
// the end of the delay every receiver refuses the old token.
func (s *Supervisor) replaceRevoked(status agent.Status, now time.Time) {
	if s.next == nil || s.phase == waiting || !now.Before(s.next.due) {
		return
	}
	// A verification is counted in the metrics, so there is none without a revocation.
	if !slices.ContainsFunc(status.Sources, func(src agent.SourceStatus) bool { return src.Revoked > 0 }) {
		return
	}
	if _, err := s.source.Verify(context.Background(), s.token); errors.Is(err, verify.ErrRevokedToken) {
		s.log.Warn("the token that the program has is revoked; it gets the new one at once", "fingerprint", fingerprint(s.token))
		s.next.due = now
	}
}

// act does what is due.
func (s *Supervisor) act(now time.Time, signals <-chan os.Signal) error {
	due := s.next != nil && !now.Before(s.next.due)
	switch s.phase {
	case waiting:
		switch {
		case s.next != nil: // the first token has no delay
			s.takeNext()
			return s.start(signals)
		case !s.o.Wait:
			return errors.New("the source has no current token, since it is revoked; put a new one in, or give --wait-for-source")
		}
	case running:
		if due {
			s.change(now)
		}
	case stopping:
		if due { // before the program has been started again
			s.takeNext()
		}
		if !s.deadline.IsZero() && !now.Before(s.deadline) {
			s.log.Warn("the program did not end in time and is killed", "stop_timeout", s.o.StopTimeout)
			s.deadline = time.Time{}
			s.metrics.kills.Inc()
			s.prog.kill()
		}
	case pausing:
		failed := s.tries > 0 // otherwise we stopped it
		switch {
		case due && failed: // a new token may fix it, and has tries of its own
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

// takeNext makes the next token the program's.
func (s *Supervisor) takeNext() {
	s.metrics.token.DeleteLabelValues(fingerprint(s.token))
	s.token, s.next = s.next.token, nil
	s.metrics.token.WithLabelValues(fingerprint(s.token)).Set(1)
}

// change stops the program, to start it with its new token, or signals it.
func (s *Supervisor) change(now time.Time) {
	s.takeNext()
	if sig := s.o.ChangeSignal; sig != nil {
		s.log.Info("the program is told of the new token", "signal", sig.String(), "fingerprint", fingerprint(s.token))
		s.metrics.signals.Inc()
		s.prog.signal(sig)
		return
	}
	s.log.Info("the program is restarted with the new token", "fingerprint", fingerprint(s.token))
	s.phase, s.deadline, s.tries = stopping, now.Add(s.o.StopTimeout), 0
	s.metrics.changes.Inc()
	s.prog.signal(s.o.StopSignal)
}

// start starts the program, unless a signal to end has come meanwhile.
func (s *Supervisor) start(signals <-chan os.Signal) error {
	for len(signals) > 0 {
		if err := s.handle(<-signals); err != nil {
			return err
		}
	}
	first := s.phase == waiting
	prog, err := s.launch(s.token)
	s.started, s.askedEnd, s.restarted = time.Now(), false, !first
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

// programEnd decides what follows the end of the program.
func (s *Supervisor) programEnd(now time.Time) error {
	code := s.prog.code()
	s.prog, s.deadline = nil, time.Time{}
	switch {
	case s.ending:
		return programEnded(code)
	case s.phase == stopping:
		s.phase, s.deadline = pausing, now
		return nil
	case s.restarted && !s.askedEnd && code != 0 && now.Sub(s.started) < soon:
		return s.pause(now, code, nil)
	default:
		s.log.Info("the program has ended", "code", code)
		return programEnded(code)
	}
}

// pause waits before the program is tried again that ended with code, or could not be
// started because of err.
func (s *Supervisor) pause(now time.Time, code int, err error) error {
	if s.tries == maxTries {
		s.log.Error("the program fails since its restart, and is not tried again", "code", code, "tries", s.tries)
		if err != nil {
			return err
		}
		return programEnded(code)
	}
	pause := min(firstPause<<s.tries, longPause)
	s.tries++
	s.phase, s.deadline = pausing, now.Add(pause)
	s.log.Warn("the program failed soon after its restart, and is tried again", "code", code, "in", pause, "try", s.tries, "of", maxTries)
	return nil
}

// handle forwards a signal that was sent to this process.
func (s *Supervisor) handle(sig os.Signal) error {
	ends := sig == syscall.SIGTERM || sig == os.Interrupt || sig == s.o.StopSignal
	first := ends && !s.ending
	if first {
		s.ending, s.next = true, nil
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
		// We have sent it already. Many programs, daprd too, end at once at a second one.
		s.log.Debug("the program is stopping already", "signal", sig.String())
		return nil
	}
	// The other signals (WINCH, CONT, USR1) do not explain an end.
	s.askedEnd = s.askedEnd || ends || sig == syscall.SIGQUIT
	s.prog.forward(sig)
	return nil
}

// due returns when the next token is due; zero for never.
func (s *Supervisor) due() time.Time {
	if s.next == nil {
		return time.Time{}
	}
	return s.next.due
}

// earliest returns the earlier of two times, of which zero means never.
func earliest(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

func fingerprint(token string) string { return verify.Fingerprint(verify.Digest(token)) }
