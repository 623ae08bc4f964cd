package agent

import (
	"slices"
	"time"

	"github.com/tokenagent/tokenagent/internal/jwt"
	"github.com/tokenagent/tokenagent/internal/token"
)

// A Snapshot is what an Agent accepted and refused at one moment, for another
// Agent to start from (Config.From) or to learn from ([Agent.Merge]). It is
// immutable, and refers to the tokens without showing them. The zero Snapshot is
// that of an Agent that has read nothing.
type Snapshot struct {
	tokens sourceSnapshot[token.Token, token.Set]
	keys   sourceSnapshot[jwt.Key, jwt.KeySet]
	store  *stateStore
}

// A sourceSnapshot is the part of a Snapshot that is about one source.
type sourceSnapshot[V credential, S any] struct {
	state *state[V, S] // nil for none
	names []string     // of the source, and those that it had before
	users *previousUsers
}

// Snapshot returns what the Agent accepts and refuses now; after Close, what it
// accepted and refused at the end. The windows of superseded credentials are shared
// by all Agents that come from it, so that a use in one of them counts in all.
func (a *Agent) Snapshot() Snapshot {
	s := Snapshot{store: a.store}
	if a.tokens != nil {
		s.tokens = a.tokens.snapshot()
	}
	if a.keys != nil {
		s.keys = a.keys.snapshot()
	}
	return s
}

// Merge adds to a what the Agent from which a was started has learned since the
// Snapshot in Config.From; s is a second Snapshot of it. To replace an Agent while
// requests come:
//
//	from := old.Snapshot()
//	next, err := agent.Start(ctx, agent.Config{From: &from, ...})
//	err = next.Merge(old.Snapshot())
//	// hand requests to next
//	err = old.Close()
//
// From Merge on, next refuses everything that old had revoked or retired when the
// second Snapshot was taken, whatever the two sources say in the meantime, and also
// what next learned itself: revocations and retirements are only added. One
// revocation is not added: one that next's source has lifted, and old's has not yet.
// An Unrevoke of next holds after the last Merge.
// It accepts each superseded credential that old remembered, until the deadline
// that it had in old, and old's current one: if next's source does not declare it,
// as one that was superseded now. Whatever else old's source declares, next
// accepts only if its own source declares it. Two things are lost: what old is told by
// hand (Revoke, Retire) after the second Snapshot, so tell next from then on; and an
// Unrevoke of old between the two.
//
// Merge makes a the one that writes the state file, and its error says that this
// failed, or is [ErrClosed].
func (a *Agent) Merge(s Snapshot) error {
	if a.tokens != nil {
		a.tokens.merge(s.tokens.state)
	}
	if a.keys != nil {
		a.keys.merge(s.keys.state)
	}
	if a.closed.Load() {
		return ErrClosed
	}
	if a.store != nil {
		a.store.claim(a)
	}
	return a.save()
}

// inherit has a start from s.
func (a *Agent) startFrom(s *Snapshot) {
	if a.tokens != nil {
		a.tokens.startFrom(s.tokens)
	}
	if a.keys != nil {
		a.keys.startFrom(s.keys)
	}
	switch {
	case a.cfg.StateFile == "":
	case s.store != nil && s.store.cfg.StateFile == a.cfg.StateFile:
		a.store = s.store
	default:
		a.store = &stateStore{cfg: a.cfg}
	}
}

func (m *typedSource[V, S]) snapshot() sourceSnapshot[V, S] {
	return sourceSnapshot[V, S]{state: m.lastState(), names: append(slices.Clone(m.formerNames), m.src.name), users: m.users}
}

// latest returns what there is, and after Close what there was.
func (m *typedSource[V, S]) lastState() *state[V, S] {
	if s := m.last.Load(); s != nil {
		return s
	}
	return m.base(m.value.Load())
}

// inherit has m start from s.
func (m *typedSource[V, S]) startFrom(s sourceSnapshot[V, S]) {
	if s.state == nil {
		return
	}
	m.initial, m.users = s.state, s.users
	for _, name := range s.names {
		if !m.hasName(name) {
			m.formerNames = append(m.formerNames, name)
		}
	}
}

// publishInitial publishes what m started from where the source could not be read.
func (m *typedSource[V, S]) publishInitial() {
	m.value.Apply(func(prev *state[V, S], _ time.Time) *state[V, S] {
		if s := m.initial; prev == nil && s != nil && s.loaded {
			return m.with(s, s.ledger, nil)
		}
		return prev
	})
}

// merge adds what there is of other, which may be nil.
func (m *typedSource[V, S]) merge(other *state[V, S]) {
	if other == nil {
		return
	}
	m.change(func(s *state[V, S], now time.Time) *state[V, S] {
		next, more := *s, other
		if !s.loaded && other.loaded { // nothing good could be read; what was good stays
			next, more = *other, s
		}
		return m.with(&next, next.ledger.Merge(more.ledger, now, m.src.window), nil)
	})
}
