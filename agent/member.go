package agent

import (
	"context"
	"log/slog"
	"maps"
	"slices"
	"sync/atomic"
	"time"

	"github.com/tokenagent/tokenagent/pkg/reload"
	"github.com/tokenagent/tokenagent/pkg/rotation"
	"github.com/tokenagent/tokenagent/pkg/verify"
)

// A member is one source of an Agent and what became of it. V is the kind of
// credential that it declares, S what verifies by those.
type member[V credential, S any] struct {
	src     *source
	parse   func(reload.Content) (declaration[V], error)
	build   func(l *rotation.Ledger[V], before *S, declared []rotation.Decl[V]) *S
	codec   codec[V]
	log     *slog.Logger
	value   *reload.Value[state[V, S]]
	memory  atomic.Pointer[verify.Memory] // nil without a state file
	initial *state[V, S]                  // what there was before the start; nil for nothing
	was     map[rotation.ID]struct{}      // the names that initial was written down with, or one before it
	closed  *atomic.Bool                  // the Agent's
	last    atomic.Pointer[state[V, S]]   // what there was when it closed
	users   *users
	counts  *counts
	// Until a successor has caught up it keeps what it read, to proceed with it from
	// what there is of its predecessor by then. Both are used by steps alone.
	catching bool
	declared *declaration[V] // of the last good content
	// expires is when a credential expires by itself; nil for never. longest is
	// the longest lifetime of what it has signed; nil where it signs nothing.
	expires func(V) time.Time
	longest func() time.Duration
	// revocableNames are by what else a credential can be revoked; nil for nothing.
	revocableNames func(V) []rotation.ID
	// usable reports whether what was read may vouch now; nil where it always may.
	usable func() bool
}

// A part is a member whatever its kind: what an Agent does with all of its
// sources alike.
type part interface {
	open(r *resolved, w *reload.Watcher) error
	run(ctx context.Context)
	narrate(ctx context.Context, changed func())
	remember(m *verify.Memory)
	shut()

	source() *source
	isReady() bool
	updated() <-chan struct{}
	reload() (changed bool, err error)
	revoke(id rotation.ID)
	retire()

	restore(memory *verify.Memory, w writtenSource, now time.Time) error
	forget()
	inherit(from part)
	catchUp(from part)
	caughtUp()
	adopt(memory *verify.Memory, w writtenSource)
	write(memory *verify.Memory, now time.Time) (writtenSource, bool)
	status(now time.Time) SourceStatus
	collect(e emitter, now time.Time)
}

func (m *member[V, S]) source() *source          { return m.src }
func (m *member[V, S]) isReady() bool            { return m.value.Ready() || m.latest().loaded }
func (m *member[V, S]) updated() <-chan struct{} { return m.value.Updated() }

// remotePoll is how often a remote source is asked whether a request is due.
const remotePoll = 2 * time.Second

// open reads the source for the first time.
func (m *member[V, S]) open(r *resolved, w *reload.Watcher) (err error) {
	poll, debounce := r.Poll, r.Debounce
	if m.src.remote {
		// A server is asked when the source says so, which needs looking often; and
		// its answer comes whole.
		poll, debounce = remotePoll, -1
	}
	m.value, err = reload.Open(m.src.source, m.step, reload.Options{
		Poll: poll, Debounce: debounce, Watcher: w,
		Wait: r.WaitForSource, Logger: r.Logger, Name: m.src.name,
	})
	return err
}

// remember hands over by what names are known that were written down.
func (m *member[V, S]) remember(memory *verify.Memory) { m.memory.Store(memory) }

func (m *member[V, S]) run(ctx context.Context) { _ = m.value.Run(ctx) }

func (m *member[V, S]) reload() (changed bool, err error) { return m.value.Reload() }

// step is the source's step until the Agent is closed: a read that began before
// must not publish afterwards. Steps and the Agent's own changes exclude each
// other.
func (m *member[V, S]) step(prev *state[V, S], c reload.Content, now time.Time) (*state[V, S], error) {
	if m.closed.Load() {
		return nil, ErrClosed
	}
	return m.advance(m.base(prev), c, now)
}

// base returns what to go on from: s, or what there was before the start.
func (m *member[V, S]) base(s *state[V, S]) *state[V, S] {
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
func (m *member[V, S]) set() *S {
	if s := m.value.Load(); s != nil {
		return s.set
	}
	return nil
}

func (m *member[V, S]) revoke(id rotation.ID) {
	m.change(func(s *state[V, S]) *state[V, S] {
		s = s.resolve(m.memory.Load(), slices.Values([]rotation.ID{id}))
		s, id := m.own(s, id)
		if slices.Contains(s.manual, id) && s.ledger.Revoked(id) {
			return s
		}
		next := *s
		next.manual = append(slices.Clip(s.manual), id)
		return m.with(&next, s.ledger.Revoke(m.named(s, nil, []rotation.ID{id})...), nil)
	})
}

// own returns the ID under which s knows what id names. A Principal may still hold
// the name under which its credential was written down, and by which nobody else
// calls it any more.
func (m *member[V, S]) own(s *state[V, S], id rotation.ID) (*state[V, S], rotation.ID) {
	if !m.wasName(id) {
		return s, id
	}
	if _, is := s.names[id]; is {
		return s, id
	}
	if s.ledger != nil {
		for i := range s.ledger.Entries {
			if own := s.ledger.Entries[i].ID; m.memory.Load().Name(own) == id {
				return s, own
			}
		}
	}
	next := *s
	next.names = maps.Clone(s.names)
	next.names[id] = struct{}{}
	return &next, id
}

// wasName reports whether id is a name that was written down before the start.
func (m *member[V, S]) wasName(id rotation.ID) bool {
	_, was := m.was[id]
	return was
}

func (m *member[V, S]) retire() {
	m.change(func(s *state[V, S]) *state[V, S] {
		if !s.ledger.Overlaps() {
			return s
		}
		return m.with(s, s.ledger.Retire(), nil)
	})
}

func (m *member[V, S]) change(f func(*state[V, S]) *state[V, S]) {
	m.value.Apply(func(prev *state[V, S], _ time.Time) *state[V, S] {
		if m.closed.Load() {
			return prev
		}
		return f(m.base(prev))
	})
}

// shut takes everything out. It is called once the Agent is closed.
func (m *member[V, S]) shut() {
	m.value.Apply(func(prev *state[V, S], _ time.Time) *state[V, S] {
		last := m.base(prev)
		m.last.Store(last)
		return &state[V, S]{manual: last.manual, rotations: last.rotations}
	})
}

// revoked reports whether the credential id is. One that was accepted under the
// name that was written down may have been revoked under its own since.
func (m *member[V, S]) revoked(id rotation.ID) (yes bool) {
	s := m.base(m.value.Load())
	if s.ledger.Revoked(id) {
		return true
	}
	if m.wasName(id) {
		s.ledger.EachRefused(func(own rotation.ID, revoked bool) {
			yes = yes || revoked && m.memory.Load().Name(own) == id
		})
	}
	return yes
}

// await returns true as soon as revoked says so, which is asked at every change,
// and false when ctx ends or gone says so.
func (m *member[V, S]) await(ctx context.Context, gone, revoked func() bool) bool {
	for {
		changed := m.value.Updated()
		if gone() {
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
func (m *member[V, S]) recordPreviousUse(p *verify.Principal, remote string) {
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
func (m *member[V, S]) accepted(s *state[V, S], now time.Time) []*rotation.Entry[V] {
	if m.usable != nil && !m.usable() {
		return nil
	}
	return s.live(now)
}

// superseded returns what is superseded and accepted, so that its users matter.
func (m *member[V, S]) superseded(now time.Time) map[string]bool {
	found := make(map[string]bool)
	for _, e := range m.value.Load().live(now) {
		if e.Slot == rotation.Previous {
			found[e.Value.Label()] = true
		}
	}
	return found
}
