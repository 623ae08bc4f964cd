package agent

import (
	"errors"
	"slices"
	"time"

	"github.com/tokenagent/tokenagent/pkg/reload"
	"github.com/tokenagent/tokenagent/pkg/rotation"
)

// A state is all that requests and scrapes read of one source: immutable, and
// replaced whole. V is the kind of credential, S what verifies by it.
type state[V credential, S any] struct {
	ledger *rotation.Ledger[V]
	// set is nil until good content came, and again once the Agent is closed.
	set     *S
	manual  []rotation.ID // revoked through Agent.Revoke, for good
	current rotation.ID   // the last current credential there was
	// names are the IDs above and in the ledger that are not those of credentials
	// but the names under which they were written down; see keeper.
	names     map[rotation.ID]struct{}
	loaded    bool
	notes     []string // as in declaration
	rotations uint64
	// lastPrevious is the last use of superseded credentials that have left the
	// ledger.
	lastPrevious time.Time
	stays        map[rotation.ID]stay // of what is in the ledger
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
	decls   []rotation.Decl[V]
	revoked []rotation.ID
	notes   []string // what else there is to say of content that is good
}

// errPartial rejects content of which a key could not be read; that fault has
// been told already.
var errPartial = errors.New("agent: not all keys could be read")

// advance makes the next state from what the source says. Revocations in bad
// content hold all the same, since they only ever take away.
func (m *member[V, S]) advance(prev *state[V, S], c reload.Content, now time.Time) (*state[V, S], error) {
	d, err := m.parse(c)
	if c.Partial && err == nil {
		err = errPartial
	}
	if err != nil {
		// Only what is revoked is news: what else was read is not declared by it.
		met := prev.resolve(m.memory.Load(), slices.Values(d.revoked))
		fresh := slices.DeleteFunc(d.revoked, met.ledger.Revoked)
		if len(fresh) == 0 {
			return nil, err
		}
		return m.with(met, met.ledger.Revoke(m.named(met, nil, fresh)...), nil), err
	}
	if m.catching {
		m.declared = &d
	}
	return m.proceed(prev, d, now), nil
}

// proceed makes the next state from good content.
func (m *member[V, S]) proceed(prev *state[V, S], d declaration[V], now time.Time) *state[V, S] {
	met := prev.resolve(m.memory.Load(), d.ids())
	next := *met
	next.loaded = true
	next.notes = d.notes
	revoked := m.named(met, d.decls, slices.Concat(d.revoked, met.manual))
	return m.with(&next, rotation.Advance(met.ledger, d.decls, revoked, now, m.src.window), d.decls)
}

// named returns revoked with the credentials that it revokes by another name than
// their ID, of those that s has or that are declared: who is revoked by name must
// leave the ledger, or it would come back with its name.
func (m *member[V, S]) named(s *state[V, S], decls []rotation.Decl[V], revoked []rotation.ID) []rotation.ID {
	if m.revocableNames == nil || len(revoked) == 0 {
		return revoked
	}
	is := make(map[rotation.ID]bool, len(revoked))
	for _, id := range revoked {
		is[id] = true
	}
	memory := m.memory.Load()
	add := func(d *rotation.Decl[V]) {
		for _, name := range m.revocableNames(d.Value) {
			if !is[d.ID] && (is[name] || memory != nil && is[memory.Name(name)]) {
				is[d.ID] = true
				revoked = append(slices.Clip(revoked), d.ID)
			}
		}
	}
	if s.ledger != nil {
		for i := range s.ledger.Entries {
			add(&s.ledger.Entries[i].Decl)
		}
	}
	for i := range decls {
		add(&decls[i])
	}
	return revoked
}

// with returns the state that follows s with the ledger l, made of decls, if of any.
func (m *member[V, S]) with(s *state[V, S], l *rotation.Ledger[V], decls []rotation.Decl[V]) *state[V, S] {
	next := *s
	next.lastPrevious = s.previousLastUsed()
	next.ledger, next.stays = l, stays(s.stays, l, time.Now())
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
