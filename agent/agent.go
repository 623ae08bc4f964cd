package agent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tokenagent/tokenagent/pkg/reload"
	"github.com/tokenagent/tokenagent/pkg/rotation"
	"github.com/tokenagent/tokenagent/pkg/verify"
)

// An Agent keeps the accepted tokens in step with their source and verifies
// requests with them. Make one with [Start]; the zero Agent is not usable. It
// is safe for concurrent use and must not be copied.
type Agent struct {
	cfg     *resolved
	value   *reload.Value[state]
	watcher *reload.Watcher // nil for a source that is not watched
	counts  *counts
	users   users
	keeper  *keeper        // nil without a state file
	memory  *verify.Memory // the keeper's
	initial *state         // what the keeper read; nil for nothing
	closed  atomic.Bool

	stop    context.CancelFunc
	running sync.WaitGroup
	closing sync.Once

	closeErr error // written by closing alone
}

var (
	_ verify.Verifier            = (*Agent)(nil)
	_ verify.PreviousUseRecorder = (*Agent)(nil)
	_ verify.RevocationWaiter    = (*Agent)(nil)
)

// Start reads the source that cfg names and returns an Agent that is ready, or
// an error that names every fault of cfg, or the fault of the source. With
// cfg.WaitForSource the source's fault is no error: the Agent is returned, and
// is ready once the source is.
//
// ctx bounds the start alone. The Agent runs until Close.
func Start(ctx context.Context, cfg Config) (*Agent, error) {
	r, err := cfg.resolve()
	if err != nil {
		return nil, err
	}
	a := &Agent{cfg: r, counts: newCounts()}
	if r.StateFile != "" {
		a.keeper, a.initial = newKeeper(r, time.Now())
		a.memory = a.keeper.memory
	}
	switch {
	case !r.watched:
	case r.PollOnly:
		a.watcher = reload.PollOnly()
	default:
		a.watcher = reload.NewWatcher()
	}
	if a.value, err = a.open(ctx); err != nil {
		a.closeWatcher()
		return nil, fmt.Errorf("agent: %w", err)
	}
	_ = a.save() // is in the log and the status
	run, stop := context.WithCancel(context.WithoutCancel(ctx))
	a.stop = stop
	a.running.Go(func() { _ = a.value.Run(run) })
	a.running.Go(func() { a.narrate(run) })
	if a.keeper != nil {
		a.running.Go(func() { a.remember(run) })
	}
	return a, nil
}

// open reads the source for the first time. A read that hangs, as on a dead
// network file system, is left behind when ctx ends.
func (a *Agent) open(ctx context.Context) (*reload.Value[state], error) {
	type result struct {
		value *reload.Value[state]
		err   error
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	done := make(chan result, 1)
	go func() {
		v, err := reload.Open(a.cfg.source, a.step, reload.Options{
			Poll: a.cfg.Poll, Debounce: a.cfg.Debounce, Watcher: a.watcher,
			Wait: a.cfg.WaitForSource, Logger: a.cfg.Logger, Name: a.cfg.Name,
		})
		done <- result{v, err}
	}()
	select {
	case r := <-done:
		return r.value, r.err
	case <-ctx.Done():
		return nil, fmt.Errorf("reading %s: %w", a.cfg.location, context.Cause(ctx))
	}
}

// step is the source's step until the Agent is closed: a read that began before
// must not publish afterwards. Steps and Close's own change exclude each other.
func (a *Agent) step(prev *state, c reload.Content, now time.Time) (*state, error) {
	if a.closed.Load() {
		return nil, ErrClosed
	}
	return a.cfg.step(a.base(prev), c, now, a.memory)
}

// base returns what to go on from: s, or what there was before the start.
func (a *Agent) base(s *state) *state {
	switch {
	case s != nil:
		return s
	case a.initial != nil:
		return a.initial
	default:
		return &state{}
	}
}

// Verify accepts token if the source declares it, or if it was superseded and
// its deadline has not come. It allocates nothing, waits for nothing and
// ignores ctx. Before the first good content and after Close it answers
// [verify.ErrUnavailable]. Each call is counted once in
// tokenagent_verifications_total.
func (a *Agent) Verify(ctx context.Context, token string) (*verify.Principal, error) {
	var set *verify.TokenSet
	if s := a.value.Load(); s != nil {
		set = s.set
	}
	p, err := set.Verify(ctx, token)
	if err != nil {
		a.counts.refused(verify.Class(err))
		return nil, err
	}
	a.counts.accepted(p.Slot())
	return p, nil
}

// ErrClosed says that the Agent was closed.
var ErrClosed = errors.New("agent: closed")

// Token returns the current token, for those who send it. The error wraps
// [verify.ErrUnavailable] where there is none: nothing loaded yet, the current
// token revoked, or the Agent closed.
func (a *Agent) Token() (string, error) {
	if s := a.value.Load(); s != nil && s.set != nil {
		if c, ok := s.ledger.Current(); ok {
			return c.Value.Reveal(), nil
		}
		return "", fmt.Errorf("agent: the current token is revoked: %w", verify.ErrUnavailable)
	}
	return "", fmt.Errorf("agent: %w", verify.ErrUnavailable)
}

// Ready reports whether good content has come and the Agent is not closed. It
// stays true while the source is broken: what was accepted still is.
func (a *Agent) Ready() bool { return !a.closed.Load() && a.value.Ready() }

// Updated returns a channel that is closed at the next change of what is
// accepted. To miss none, take the channel first and look afterwards.
func (a *Agent) Updated() <-chan struct{} { return a.value.Updated() }

// Reload reads the source now, without waiting for an event or the next poll,
// and reports whether what is accepted changed. A source's fault is returned
// and changes nothing.
func (a *Agent) Reload() (changed bool, err error) {
	if a.closed.Load() {
		return false, ErrClosed
	}
	return a.value.Reload()
}

// Revoke refuses the token with the SHA-256 id from now on, in whatever slot it
// is: every verification that begins after Revoke returned. Of a token that
// nobody knows it is remembered all the same. See [verify.Digest].
//
// It holds for as long as the Agent lives; with a state file for as long as that
// does, and an error says that it could not be written there.
func (a *Agent) Revoke(id rotation.ID) error {
	err := a.change(func(s *state) *state {
		s = s.resolve(a.memory, slices.Values([]rotation.ID{id}))
		if slices.Contains(s.manual, id) && s.ledger.Revoked(id) {
			return s
		}
		next := *s
		next.manual = append(slices.Clip(next.manual), id)
		return next.with(a.cfg.Name, s.ledger.Revoke(id), a.memory)
	})
	a.cfg.Logger.Warn("token revoked", "source", a.cfg.Name, "fingerprint", verify.Fingerprint(id))
	return err
}

// Retire ends every overlap now: superseded tokens are refused by every
// verification that begins after Retire returned. One that the source declares
// previous stays refused until the source declares it in another slot. The error
// is as that of Revoke.
func (a *Agent) Retire() error {
	err := a.change(func(s *state) *state {
		if !s.ledger.Overlaps() {
			return s
		}
		return s.with(a.cfg.Name, s.ledger.Retire(), a.memory)
	})
	a.cfg.Logger.Info("superseded tokens retired", "source", a.cfg.Name)
	return err
}

// change publishes what f makes of the state, and then writes it down.
func (a *Agent) change(f func(*state) *state) error {
	closed := false
	a.value.Apply(func(prev *state, _ time.Time) *state {
		if closed = a.closed.Load(); closed {
			return prev
		}
		return f(a.base(prev))
	})
	if closed {
		return ErrClosed
	}
	return a.save()
}

// Close stops watching and waits until that has ended. Afterwards nothing is
// accepted: Verify answers [verify.ErrUnavailable]. It is idempotent. The error
// says that the state file could not be written for the last time.
func (a *Agent) Close() error {
	a.closing.Do(func() {
		// First the answer, then the waiting: a read that hangs must not keep
		// tokens accepted.
		var last *state
		a.value.Apply(func(prev *state, _ time.Time) *state {
			a.closed.Store(true)
			last = a.base(prev)
			return &state{manual: last.manual, rotations: last.rotations}
		})
		if a.keeper != nil {
			a.closeErr = a.keeper.save(func() *state { return last })
		}
		a.stop()
		a.running.Wait()
		a.closeWatcher()
	})
	return a.closeErr
}

func (a *Agent) closeWatcher() {
	if a.watcher != nil {
		_ = a.watcher.Close()
	}
}

// String returns a text that holds no token.
func (a *Agent) String() string { return "agent(" + a.cfg.Name + ")" }

// Format writes String for every verb and flag.
func (a *Agent) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, a.String()) }
