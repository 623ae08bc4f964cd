package agent

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tokenagent/tokenagent/internal/rotation"
	"github.com/tokenagent/tokenagent/pkg/reload"
	"github.com/tokenagent/tokenagent/pkg/verify"
)

// A typedSource is one source of an Agent, with its state. V is the type of its
// credentials, and S the set of credentials that verifies requests.
type typedSource[V credential, S any] struct {
	src       *sourceSpec
	parse     func(reload.Content) (declaration[V], error)
	build     func(l *rotation.Ledger[V], before *S, declared []rotation.Decl[V]) *S
	codec     codec[V]
	log       *slog.Logger
	value     *reload.Value[state[V, S]]
	initial   *state[V, S]                // from the state file or Config.From; nil if there is none
	closed    *atomic.Bool                // belongs to the Agent
	last      atomic.Pointer[state[V, S]] // set by close: the state before it
	users     *previousUsers
	counts    *counts
	durations prometheus.Histogram // of reads
	// formerNames are the other names of the source in the Agents whose Snapshots this
	// Agent started from.
	formerNames []string
	// expires returns the exp of a credential, and the zero Time if it has none. nil if
	// no credential of this type expires by itself.
	expires func(V) time.Time
	// longestLifetime returns the longest lifetime of the accepted tokens that the
	// credentials signed. nil if the credentials sign nothing.
	longestLifetime func() time.Duration
	// warned holds the files that warnAboutReaders has warned of. Only the goroutine of
	// logChanges uses it.
	warned map[string]struct{}
	// usable reports whether the credentials may verify requests now. nil means always.
	usable func() bool
	// fileError returns the error of the CA or token file of a key server. nil if the
	// source has no such files.
	fileError func() error
}

// A credentialSource is a typedSource of any type: the methods that an Agent calls on all
// of its sources.
type credentialSource interface {
	open(r *resolved, w *reload.Watcher) error
	run(ctx context.Context)
	logChanges(ctx context.Context, changed func())
	close()

	source() *sourceSpec
	isReady() bool
	updated() <-chan struct{}
	reload() (changed bool, err error)
	revoke(id rotation.ID)
	unrevoke(id rotation.ID) error
	retire()

	restore(w storedSource, now time.Time) error
	forget()
	publishInitial()
	adopt(w storedSource)
	write(now time.Time) (storedSource, bool)
	status(now time.Time) SourceStatus
	collect(e emitter, now time.Time)
}

func (m *typedSource[V, S]) source() *sourceSpec { return m.src }
func (m *typedSource[V, S]) isReady() bool {
	if m.value.Stats().Applied > 0 {
		return true
	}
	// Credentials of a Snapshot, which may vouch only while they are usable.
	return m.lastState().loaded && (m.usable == nil || m.usable())
}

// hasName reports whether name is the current or a former name of the source.
func (m *typedSource[V, S]) hasName(name string) bool {
	return name == m.src.name || slices.Contains(m.formerNames, name)
}

func (m *typedSource[V, S]) updated() <-chan struct{} { return m.value.Updated() }

// remotePoll is the interval at which a key server's source checks whether a request is
// due.
const remotePoll = 2 * time.Second

// open reads the source for the first time.
func (m *typedSource[V, S]) open(r *resolved, w *reload.Watcher) (err error) {
	poll, debounce := r.Poll, r.Debounce
	if m.src.remote {
		// The source decides whether a poll makes a request. A response is complete, so
		// it needs no debounce.
		poll, debounce = remotePoll, -1
	}
	m.durations = newDurations(m.src.name)
	m.value, err = reload.Open(m.src.source, m.step, reload.Options{
		Poll: poll, Debounce: debounce, Watcher: w, PollOnly: r.PollOnly,
		Observe: func(d time.Duration) { m.durations.Observe(d.Seconds()) },
		Wait:    r.WaitForSource, Logger: r.Logger, Name: m.src.name,
	})
	return err
}

func (m *typedSource[V, S]) run(ctx context.Context) { _ = m.value.Run(ctx) }

func (m *typedSource[V, S]) reload() (changed bool, err error) { return m.value.Reload() }

// step is the [reload.Step] of the source. After Close, step returns ErrClosed, so that a
// read that began before Close publishes nothing. The Value serializes steps and calls of
// apply.
func (m *typedSource[V, S]) step(prev *state[V, S], c reload.Content, now time.Time) (*state[V, S], error) {
	if m.closed.Load() {
		return nil, ErrClosed
	}
	return m.advance(m.orInitial(prev), c, now)
}

// orInitial returns s or, if s is nil, the initial state. The result is never nil.
func (m *typedSource[V, S]) orInitial(s *state[V, S]) *state[V, S] {
	switch {
	case s != nil:
		return s
	case m.initial != nil:
		return m.initial
	default:
		return &state[V, S]{}
	}
}

// set returns the set that verifies requests now, and nil if there is none.
func (m *typedSource[V, S]) set() *S {
	if s := m.value.Load(); s != nil {
		return s.set
	}
	return nil
}

func (m *typedSource[V, S]) revoke(id rotation.ID) {
	m.apply(func(s *state[V, S], _ time.Time) *state[V, S] {
		if s.ledger.HasRevocation(id) {
			return s
		}
		next := *s
		next.lifted = slices.DeleteFunc(slices.Clone(s.lifted), func(other rotation.ID) bool { return other == id })
		return m.with(&next, s.ledger.Revoke(id), nil)
	})
}

// unrevoke lifts the revocation of id and accepts the credential if the source declares
// it. If the source itself revokes id, unrevoke returns an error.
func (m *typedSource[V, S]) unrevoke(id rotation.ID) (err error) {
	m.apply(func(s *state[V, S], now time.Time) *state[V, S] {
		if slices.Contains(s.content.Revoked, id) || slices.Contains(s.rejected, id) {
			err = fmt.Errorf("agent: %s revokes it; take it out there (tokenagent rotate unrevoke)", m.src.location)
			return s
		}
		if !s.ledger.HasRevocation(id) {
			return s
		}
		next := *s
		next.lifted = append(slices.Clip(s.lifted), id)
		l := s.ledger.Unrevoke(id)
		if s.loaded {
			l = rotation.Advance(l, s.content, now, m.src.window)
		}
		return m.with(&next, l, s.content.Decls)
	})
	return err
}

func (m *typedSource[V, S]) retire() {
	m.apply(func(s *state[V, S], _ time.Time) *state[V, S] {
		if !s.ledger.Overlaps() {
			return s
		}
		return m.with(s, s.ledger.Retire(), nil)
	})
}

// apply publishes the state that f returns. After Close, apply does nothing.
func (m *typedSource[V, S]) apply(f func(s *state[V, S], now time.Time) *state[V, S]) {
	m.value.Apply(func(prev *state[V, S], now time.Time) *state[V, S] {
		if m.closed.Load() {
			return prev
		}
		return f(m.orInitial(prev), now)
	})
}

// close publishes a state that accepts nothing. The Agent calls close after it has set
// closed.
func (m *typedSource[V, S]) close() {
	m.value.Apply(func(prev *state[V, S], _ time.Time) *state[V, S] {
		last := m.orInitial(prev)
		m.last.Store(last)
		return &state[V, S]{rotations: last.rotations}
	})
}

// revoked reports whether the credential id is revoked.
func (m *typedSource[V, S]) revoked(id rotation.ID) bool {
	return m.orInitial(m.value.Load()).ledger.Revoked(id)
}

// awaitRevocation calls revoked at every change until it returns true. awaitRevocation
// returns false if ctx ends or the Agent is closed.
func (m *typedSource[V, S]) awaitRevocation(ctx context.Context, revoked func() bool) bool {
	for {
		changed := m.value.Updated()
		if m.closed.Load() {
			return false
		}
		if revoked() {
			return true
		}
		select {
		case <-ctx.Done():
			return false
		case <-changed:
		}
	}
}

// recordPreviousUse records and logs that the host of remote used the superseded
// credential of p.
func (m *typedSource[V, S]) recordPreviousUse(p *verify.Principal, remote string) {
	id := userID{hostOf(remote), p.KeyID()}
	if !m.users.mark(id, time.Now(), m.superseded) {
		return
	}
	log := m.log.With("source", m.src.name, "remote", id.host, "fingerprint", id.fingerprint)
	if p.Method() == verify.MethodToken {
		log.Info("superseded token still in use")
	} else {
		log.Info("superseded key still in use")
	}
}

// accepted returns the entries of s that verify requests at now.
func (m *typedSource[V, S]) accepted(s *state[V, S], now time.Time) []*rotation.Entry[V] {
	if m.usable != nil && !m.usable() {
		return nil
	}
	return s.live(now)
}

// superseded returns the labels of the superseded credentials that are accepted at now.
func (m *typedSource[V, S]) superseded(now time.Time) map[string]bool {
	found := make(map[string]bool)
	for _, e := range m.value.Load().live(now) {
		if e.Slot == rotation.Previous {
			found[e.Value.Label()] = true
		}
	}
	return found
}
