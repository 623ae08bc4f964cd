package agent

import (
	"errors"
	"slices"
	"time"

	"github.com/tokenagent/tokenagent/internal/rotation"
	"github.com/tokenagent/tokenagent/pkg/reload"
)

// A state is what requests and scrapes read of one source. It is immutable; a change
// publishes a new state. V and S are those of source.
type state[V credential, S any] struct {
	ledger *rotation.Ledger[V]
	// set is nil until the source is loaded, and after Close.
	set       *S
	content   rotation.Content[V] // the last valid content
	rejected  []rotation.ID       // revocations in the source's content, if that content was rejected
	lifted    []rotation.ID       // unrevoked by Agent.Unrevoke; an older state file must not revoke them again
	current   rotation.ID         // the current credential, or the last one if there is none now
	loaded    bool
	notes     []string // warnings about valid content
	rotations uint64
	// lastPrevious is the last use of the superseded credentials that have been removed
	// from the ledger.
	lastPrevious time.Time
	// beforeClose is the last state before Close. It is nil until Close.
	beforeClose *state[V, S]
}

func emptyState[V credential, S any]() *state[V, S] {
	return &state[V, S]{ledger: new(rotation.Ledger[V])}
}

// A credential is what a source declares: a shared token or a verification key.
type credential interface {
	// Fingerprint identifies the credential without revealing it.
	Fingerprint() string
	// Label is the KeyID of the Principals that the credential verifies.
	Label() string
}

// A declaration is the parsed content of a source.
type declaration[V credential] struct {
	rotation.Content[V]
	notes []string // warnings about valid content
}

// errPartial rejects content in which a key could not be read. The source has already
// returned the error of that key.
var errPartial = errors.New("agent: not all keys could be read")

// advance returns the state that follows prev when the source has the content c.
// Revocations in invalid content take effect too, since they only remove access.
func (src *source[V, S]) advance(prev *state[V, S], c reload.Content, now time.Time) (*state[V, S], error) {
	d, err := src.parse(c)
	if c.Partial && err == nil {
		err = errPartial
	}
	next := *prev
	if err == nil {
		next.loaded, next.content, next.rejected, next.notes = true, d.Content, nil, d.notes
		return src.with(&next, rotation.Advance(prev.ledger, d.Content, now, src.spec.window), d.Decls), nil
	}
	next.rejected = d.Revoked
	fresh := slices.DeleteFunc(slices.Clone(d.Revoked), prev.ledger.HasRevocation)
	switch {
	case len(fresh) > 0:
		return src.with(&next, prev.ledger.Reject(fresh), nil), err
	case slices.Equal(d.Revoked, prev.rejected):
		return nil, err
	default:
		return &next, err
	}
}

// with returns the state that follows s with the ledger l. decls is what the source
// declares if l came from new content, and else nil.
func (src *source[V, S]) with(s *state[V, S], l *rotation.Ledger[V], decls []rotation.Decl[V]) *state[V, S] {
	next := *s
	next.ledger, next.lastPrevious = l, s.previousLastUsed()
	if next.loaded {
		next.set = src.build(l, s.set, decls)
	}
	if c, ok := l.Current(); ok {
		if s.current != c.ID && s.current != (rotation.ID{}) {
			next.rotations++
		}
		next.current = c.ID
	}
	return &next
}

// live returns the entries of s that are accepted at now.
func (s *state[V, S]) live(now time.Time) []*rotation.Entry[V] {
	if s.set == nil {
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
	for i := range s.ledger.Entries {
		e := &s.ledger.Entries[i]
		if used := e.Use.Last(); e.Slot == rotation.Previous && used.After(last) {
			last = used
		}
	}
	return last
}

// overlapUntil returns the latest deadline of entries, and the zero Time if none has a
// deadline.
func overlapUntil[V any](entries []*rotation.Entry[V], now time.Time) time.Time {
	var until time.Time
	for _, e := range entries {
		if d := e.Deadline(now); d.After(until) {
			until = d
		}
	}
	return until
}
