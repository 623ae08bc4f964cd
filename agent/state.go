package agent

import (
	"errors"
	"slices"
	"time"

	"github.com/tokenagent/tokenagent/internal/rotation"
	"github.com/tokenagent/tokenagent/pkg/reload"
)

// A state is all that requests and scrapes read of one source: immutable, and
// replaced whole. V is the kind of credential, S what verifies by it.
type state[V credential, S any] struct {
	ledger *rotation.Ledger[V]
	// set is nil until good content came, and again once the Agent is closed.
	set       *S
	content   rotation.Content[V] // the last that was good
	rejected  []rotation.ID       // what the source revokes by now, where that has been rejected since
	lifted    []rotation.ID       // unrevoked through Agent.Unrevoke: an older state file does not revoke it again
	current   rotation.ID         // the last current credential there was
	loaded    bool
	notes     []string // as in declaration
	rotations uint64
	// lastPrevious is the last use of superseded credentials that have left the
	// ledger.
	lastPrevious time.Time
	slotsSince   map[rotation.ID]slotSince // of what is in the ledger
}

// A credential is what a source declares: a shared token or a verification key.
type credential interface {
	// Fingerprint names it without giving it away.
	Fingerprint() string
	// Label is what the Principals call it that it vouches for.
	Label() string
}

// A declaration is what content says.
type declaration[V credential] struct {
	rotation.Content[V]
	notes []string // what else there is to say of content that is good
}

// errPartial rejects content of which a key could not be read; that fault has
// been told already.
var errPartial = errors.New("agent: not all keys could be read")

// advance makes the next state from what the source says. Revocations in bad
// content hold all the same, since they only ever take away.
func (m *typedSource[V, S]) advance(prev *state[V, S], c reload.Content, now time.Time) (*state[V, S], error) {
	d, err := m.parse(c)
	if c.Partial && err == nil {
		err = errPartial
	}
	if err != nil {
		// Only what is revoked is news: what else was read is not declared by it.
		fresh := slices.DeleteFunc(slices.Clone(d.Revoked), prev.ledger.HasRevocation)
		if len(fresh) == 0 && slices.Equal(d.Revoked, prev.rejected) {
			return nil, err
		}
		next := *prev
		next.rejected = d.Revoked
		if len(fresh) == 0 {
			return &next, err
		}
		return m.with(&next, prev.ledger.Reject(fresh), nil), err
	}
	next := *prev
	next.loaded, next.content, next.rejected, next.notes = true, d.Content, nil, d.notes
	return m.with(&next, rotation.Advance(prev.ledger, d.Content, now, m.src.window), d.Decls), nil
}

// with returns the state that follows s with the ledger l, made of decls, if of any.
func (m *typedSource[V, S]) with(s *state[V, S], l *rotation.Ledger[V], decls []rotation.Decl[V]) *state[V, S] {
	next := *s
	next.lastPrevious = s.previousLastUsed()
	next.ledger, next.slotsSince = l, slotsSince(s.slotsSince, l, time.Now())
	if next.loaded {
		next.set = m.build(l, s.set, decls)
	}
	if c, ok := l.Current(); ok {
		if s.current != c.ID && s.current != (rotation.ID{}) {
			next.rotations++
		}
		next.current = c.ID
	}
	return &next
}

// live returns the entries that are accepted at now. s may be nil.
func (s *state[V, S]) live(now time.Time) []*rotation.Entry[V] {
	if s == nil || s.set == nil {
		return nil
	}
	var live []*rotation.Entry[V]
	for i := range s.ledger.Entries {
		if e := &s.ledger.Entries[i]; e.Live(now) {
			live = append(live, e)
		}
	}
	return live
}

// previousLastUsed returns when a superseded credential was last accepted.
func (s *state[V, S]) previousLastUsed() time.Time {
	last := s.lastPrevious
	if s.ledger == nil {
		return last
	}
	for i := range s.ledger.Entries {
		e := &s.ledger.Entries[i]
		if used := e.Use.Last(); e.Slot == rotation.Previous && used.After(last) {
			last = used
		}
	}
	return last
}

// overlapUntil returns the latest deadline among entries, and the zero Time
// where none has one.
func overlapUntil[V any](entries []*rotation.Entry[V], now time.Time) time.Time {
	var until time.Time
	for _, e := range entries {
		if d := e.Deadline(now); d.After(until) {
			until = d
		}
	}
	return until
}

// A slotSince says since when a credential has been in its slot, as this process saw
// it.
type slotSince struct {
	slot  rotation.Slot
	since time.Time
}

// slotsSince returns those of the credentials in l: as they were in before where the
// slot is the same, and from now for the others.
func slotsSince[V any](before map[rotation.ID]slotSince, l *rotation.Ledger[V], now time.Time) map[rotation.ID]slotSince {
	if l == nil {
		return nil
	}
	after := make(map[rotation.ID]slotSince, len(l.Entries))
	for i := range l.Entries {
		e := &l.Entries[i]
		s, ok := before[e.ID]
		if !ok || s.slot != e.Slot {
			s = slotSince{e.Slot, now}
		}
		after[e.ID] = s
	}
	return after
}
