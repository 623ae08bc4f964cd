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

// A typedSource is one source of an Agent and what became of it. V is the kind of
// credential that it declares, S what verifies by those.
type typedSource[V credential, S any] struct {
	src     *sourceSpec
	parse   func(reload.Content) (declaration[V], error)
	build   func(l *rotation.Ledger[V], before *S, declared []rotation.Decl[V]) *S
	codec   codec[V]
	log     *slog.Logger
	value   *reload.Value[state[V, S]]
	initial *state[V, S]                // what there was before the start; nil for nothing
	closed  *atomic.Bool                // the Agent's
	last    atomic.Pointer[state[V, S]] // what there was when it closed
	users   *previousUsers
	counts  *counts
	// durations are how long reads took.
	durations prometheus.Histogram
	// formerNames are other names that the source had, in the Agents from whose
	// Snapshots this one comes.
	formerNames []string
	// expires is when a credential expires by itself; nil for never. longestLifetime is
	// the longest lifetime of what it has signed; nil where it signs nothing.
	expires         func(V) time.Time
	longestLifetime func() time.Duration
	// readable are the files that warnAboutReaders has warned of. logChanges alone uses it.
	warned map[string]struct{}
	// usable reports whether what was read may vouch now; nil where it always may.
	usable func() bool
	// fileError is what is wrong with the files by which the source is read, where
	// it can be read all the same; nil for a source without any.
	fileError func() error
}

// A credentialSource is a typedSource of any kind: what an Agent does with all of its
// sources alike.
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

// calls reports whether name is, or was, that of the source.
func (m *typedSource[V, S]) hasName(name string) bool {
	return name == m.src.name || slices.Contains(m.formerNames, name)
}

func (m *typedSource[V, S]) updated() <-chan struct{} { return m.value.Updated() }

// remotePoll is how often a remote source is asked whether a request is due.
const remotePoll = 2 * time.Second

// open reads the source for the first time.
func (m *typedSource[V, S]) open(r *resolved, w *reload.Watcher) (err error) {
	poll, debounce := r.Poll, r.Debounce
	if m.src.remote {
		// A server is asked when the source says so, which needs looking often; and
		// its answer comes whole.
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

// step is the source's step until the Agent is closed: a read that began before
// must not publish afterwards. Steps and the Agent's own changes exclude each
// other.
func (m *typedSource[V, S]) step(prev *state[V, S], c reload.Content, now time.Time) (*state[V, S], error) {
	if m.closed.Load() {
		return nil, ErrClosed
	}
	return m.advance(m.base(prev), c, now)
}

// base returns what to go on from: s, or what there was before the start.
func (m *typedSource[V, S]) base(s *state[V, S]) *state[V, S] {
	switch {
	case s != nil:
		return s
	case m.initial != nil:
		return m.initial
	default:
		return &state[V, S]{}
	}
}

// set returns what verifies now, and nil where nothing does.
func (m *typedSource[V, S]) set() *S {
	if s := m.value.Load(); s != nil {
		return s.set
	}
	return nil
}

func (m *typedSource[V, S]) revoke(id rotation.ID) {
	m.change(func(s *state[V, S], _ time.Time) *state[V, S] {
		if s.ledger.HasRevocation(id) {
			return s
		}
		next := *s
		next.lifted = slices.DeleteFunc(slices.Clone(s.lifted), func(other rotation.ID) bool { return other == id })
		return m.with(&next, s.ledger.Revoke(id), nil)
	})
}

// unrevoke lifts the revocation of id, unless the source makes it, and accepts what
// the source declares.
func (m *typedSource[V, S]) unrevoke(id rotation.ID) (err error) {
	m.change(func(s *state[V, S], now time.Time) *state[V, S] {
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
	m.change(func(s *state[V, S], _ time.Time) *state[V, S] {
		if !s.ledger.Overlaps() {
			return s
		}
		return m.with(s, s.ledger.Retire(), nil)
	})
}

func (m *typedSource[V, S]) change(f func(s *state[V, S], now time.Time) *state[V, S]) {
	m.value.Apply(func(prev *state[V, S], now time.Time) *state[V, S] {
		if m.closed.Load() {
			return prev
		}
		return f(m.base(prev), now)
	})
}

// shut takes everything out. It is called once the Agent is closed.
func (m *typedSource[V, S]) close() {
	m.value.Apply(func(prev *state[V, S], _ time.Time) *state[V, S] {
		last := m.base(prev)
		m.last.Store(last)
		return &state[V, S]{rotations: last.rotations}
	})
}

// revoked reports whether the credential id is.
func (m *typedSource[V, S]) revoked(id rotation.ID) bool {
	return m.base(m.value.Load()).ledger.Revoked(id)
}

// await returns true as soon as revoked says so, which is asked at every change,
// and false when ctx ends or the Agent is closed.
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

// recordPreviousUse notes from where a superseded credential came.
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

// accepted returns the entries of s that may vouch at now.
func (m *typedSource[V, S]) accepted(s *state[V, S], now time.Time) []*rotation.Entry[V] {
	if m.usable != nil && !m.usable() {
		return nil
	}
	return s.live(now)
}

// superseded returns what is superseded and accepted, so that its users matter.
func (m *typedSource[V, S]) superseded(now time.Time) map[string]bool {
	found := make(map[string]bool)
	for _, e := range m.value.Load().live(now) {
		if e.Slot == rotation.Previous {
			found[e.Value.Label()] = true
		}
	}
	return found
}
