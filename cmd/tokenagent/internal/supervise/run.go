package supervise

import (
	"errors"
	"os"
	"syscall"
	"time"

	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/exitcode"
	"github.com/tokenagent/tokenagent/pkg/verify"
)

// Run starts the program and keeps its token in step with the source, until the
// program ends. It returns what ends the command with the program's own exit
// code; nil for 0.
//
// signals are those sent to this process. Each is forwarded; SIGTERM, SIGINT
// and Options.StopSignal also mean that nothing is started any more. Where
// nothing runs when one of these comes, Run ends with 128+n, as if the signal
// had met the program.
func (s *Supervisor) Run(signals <-chan os.Signal) error {
	defer s.reap()()
	alarm := time.NewTimer(0)
	defer alarm.Stop()
	for {
		updated := s.src.Updated() // before looking, so that no change is missed
		now := time.Now()
		s.look(now)
		err := s.act(now, signals)
		s.publish()
		if err != nil {
			return code(err)
		}
		if wake := s.wake(); wake.IsZero() {
			alarm.Stop()
		} else {
			alarm.Reset(time.Until(wake))
		}
		select {
		case <-updated:
		case <-alarm.C:
		case sig := <-signals:
			err = s.signalled(sig)
		case <-s.ended():
			err = s.over(time.Now())
		}
		if err != nil {
			s.publish()
			return code(err)
		}
	}
}

// An end is an exit code on its way out of Run.
type end int

func (e end) Error() string { return "the program has ended" }

func code(err error) error {
	var e end
	var start startError
	switch {
	case errors.As(err, &e):
		return exitcode.With(int(e), nil)
	case errors.As(err, &start):
		return exitcode.With(start.code, start.error)
	default:
		return err
	}
}

// ended is closed once the program has ended, and nil while none runs.
func (s *Supervisor) ended() <-chan struct{} {
	if s.prog == nil {
		return nil
	}
	return s.prog.ended()
}

// look notes whether the program is to get another token, and when.
func (s *Supervisor) look(now time.Time) {
	status := s.src.Status() // before the token: it may be promoted in between
	since := s.known.update(status, now)
	token, err := s.src.Token()
	dry := s.dry
	s.dry = err != nil
	switch {
	case s.ending != nil:
		s.next = nil
	case err != nil:
		if !dry && s.token != "" {
			s.log.Warn("the source has no current token any more; the program keeps the one it has until a new one comes", "error", err)
		}
		s.next = nil
	case token == s.token:
		if s.next != nil {
			s.log.Info("the token is again the one that the program has; no restart")
		}
		s.next = nil
	case s.next != nil && s.next.token == token:
	default:
		// Receivers that saw it staged know it since then.
		from := now
		if t, ok := since[fingerprint(token)]; ok {
			from = t
		}
		s.next = &change{token, from.Add(s.o.Delay)}
		if s.phase != waiting {
			s.log.Info("the token has changed", "fingerprint", fingerprint(token), "due_in", max(0, s.next.due.Sub(now)).Round(time.Millisecond))
		}
	}
	s.hurry(status, now)
}

// act does what is due.
func (s *Supervisor) act(now time.Time, signals <-chan os.Signal) error {
	due := s.next != nil && !now.Before(s.next.due)
	switch s.phase {
	case waiting:
		switch {
		case s.next != nil: // the first one waits for nobody
			s.token, s.next = s.next.token, nil
			return s.start(signals)
		case !s.o.Wait:
			return errors.New("the source has no current token, since it is revoked; put a new one in, or give --wait-for-source")
		}
	case running:
		if due {
			s.change(now)
		}
	case stopping:
		if due { // before the new program has even started
			s.token, s.next = s.next.token, nil
		}
		if !s.killAt.IsZero() && !now.Before(s.killAt) {
			s.log.Warn("the program did not end in time and is killed", "stop_timeout", s.o.StopTimeout)
			s.killAt = time.Time{}
			s.counts.kills++
			s.prog.kill()
		}
	case resting:
		failed := s.tries > 0 // else it was stopped by us
		switch {
		case due && failed: // a new token may be the mend, and has its own tries
			s.log.Info("the program is started with the new token", "fingerprint", fingerprint(s.next.token))
			s.tries = 0
			s.counts.changes++
		case now.Before(s.restTill):
			return nil
		case failed:
			s.counts.retries++
		}
		if due {
			s.token, s.next = s.next.token, nil
		}
		return s.start(signals)
	}
	return nil
}

// change gives the program its new token, or the signal instead.
func (s *Supervisor) change(now time.Time) {
	s.token, s.next = s.next.token, nil
	if sig := s.o.ChangeSignal; sig != nil {
		s.log.Info("the program is told of the new token", "signal", sig.String(), "fingerprint", fingerprint(s.token))
		s.counts.signals++
		s.prog.signal(sig)
		return
	}
	s.log.Info("the program is restarted with the new token", "fingerprint", fingerprint(s.token))
	s.phase, s.killAt, s.tries = stopping, now.Add(s.o.StopTimeout), 0
	s.counts.changes++
	s.prog.signal(s.o.StopSignal)
}

// start starts the program with the token, unless a signal to end has come
// meanwhile.
func (s *Supervisor) start(signals <-chan os.Signal) error {
	for {
		select {
		case sig := <-signals:
			if err := s.signalled(sig); err != nil {
				return err
			}
			continue
		default:
		}
		break
	}
	first := s.phase == waiting
	prog, err := s.launch(s.token)
	now := time.Now()
	s.started, s.told, s.anew = now, false, !first
	if err != nil {
		var e startError
		if first || !errors.As(err, &e) {
			return err
		}
		return s.rest(now, e.code, err)
	}
	s.prog, s.phase, s.restTill = prog, running, time.Time{}
	s.log.Info("program started", "fingerprint", fingerprint(s.token))
	return nil
}

// over decides what follows the program's end.
func (s *Supervisor) over(now time.Time) error {
	code := s.prog.code()
	s.prog, s.killAt = nil, time.Time{}
	switch {
	case s.ending != nil:
		return end(code)
	case s.phase == stopping:
		s.phase, s.restTill = resting, now
		return nil
	case s.anew && !s.told && code != 0 && now.Sub(s.started) < soon:
		return s.rest(now, code, nil)
	default:
		s.log.Info("the program has ended", "code", code)
		return end(code)
	}
}

// rest lets some time go by before the program is tried again that ended with
// code, or could not be started because of err.
func (s *Supervisor) rest(now time.Time, code int, err error) error {
	if s.tries == maxTries {
		s.log.Error("the program fails since its restart, and is not tried again", "code", code, "tries", s.tries)
		if err != nil {
			return err
		}
		return end(code)
	}
	pause := min(firstRest<<s.tries, longRest)
	s.tries++
	s.phase, s.restTill = resting, now.Add(pause)
	s.log.Warn("the program failed soon after its restart, and is tried again", "code", code, "in", pause, "try", s.tries, "of", maxTries)
	return nil
}

// signalled passes a signal on.
func (s *Supervisor) signalled(sig os.Signal) error {
	ends := sig == syscall.SIGTERM || sig == os.Interrupt || sig == s.o.StopSignal
	// What else is forwarded (WINCH, CONT, USR1) explains no end.
	asked := ends || sig == syscall.SIGQUIT
	first := ends && s.ending == nil
	if first {
		s.ending, s.next = sig, nil
	}
	if s.prog == nil {
		if n, ok := sig.(syscall.Signal); ok && ends {
			s.log.Info("ended by a signal while the program was not running", "signal", sig.String())
			return end(128 + int(n))
		}
		s.log.Debug("no program to forward the signal to", "signal", sig.String())
		return nil
	}
	if first && s.phase == stopping && sig == s.o.StopSignal {
		// It has that one from us. Many programs, daprd too, break off at a second.
		s.log.Debug("the program is stopping already", "signal", sig.String())
		return nil
	}
	s.told = s.told || asked
	s.prog.forward(sig)
	return nil
}

// wake is when the next thing is due by itself; zero for never.
func (s *Supervisor) wake() time.Time {
	var at time.Time
	for _, t := range []time.Time{s.killAt, s.restTill, s.nextDue()} {
		if !t.IsZero() && (at.IsZero() || t.Before(at)) {
			at = t
		}
	}
	return at
}

func (s *Supervisor) nextDue() time.Time {
	if s.next == nil {
		return time.Time{}
	}
	return s.next.due
}

func fingerprint(token string) string { return verify.Fingerprint(verify.Digest(token)) }
