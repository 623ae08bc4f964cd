package agent

import (
	"errors"
	"slices"
	"time"

	"github.com/tokenagent/tokenagent/pkg/reload"
	"github.com/tokenagent/tokenagent/pkg/rotation"
	"github.com/tokenagent/tokenagent/pkg/verify"
)

// A state is all that requests and scrapes read: immutable, and replaced whole.
type state struct {
	ledger *rotation.Ledger[verify.Token]
	// set is nil until good content came, and again once the Agent is closed.
	set     *verify.TokenSet
	manual  []rotation.ID // revoked through Agent.Revoke, for good
	current rotation.ID   // the last current token there was
	// names are the IDs above and in the ledger that are not those of tokens but
	// the names under which they were written down; see keeper.
	names     map[rotation.ID]struct{}
	loaded    bool
	rotations uint64
	// lastPrevious is the last use of superseded tokens that have left the
	// ledger.
	lastPrevious time.Time
}

// errPartial rejects content of which a key could not be read; that fault has
// been told already.
var errPartial = errors.New("agent: not all keys could be read")

// step makes the next state from what the source says. Revocations in bad
// content hold all the same, since they only ever take away.
func (r *resolved) step(prev *state, c reload.Content, now time.Time, m *verify.Memory) (*state, error) {
	parse := r.parse
	if c.Path != "" {
		parse.Name = c.Path
	}
	var tokens verify.Tokens
	var err error
	if c.Keys != nil {
		tokens, err = verify.ParseKeys(c.Keys, parse)
	} else {
		tokens, err = verify.Parse(c.Data, parse)
	}
	if c.Partial && err == nil {
		err = errPartial
	}
	met := prev.resolve(m, tokens.IDs())
	if err != nil {
		fresh := slices.DeleteFunc(tokens.Revoked, met.ledger.Revoked)
		if len(fresh) == 0 {
			return nil, err
		}
		return met.with(r.Name, met.ledger.Revoke(fresh...), m), err
	}
	next := *met
	next.loaded = true
	return next.with(r.Name, rotation.Advance(met.ledger, tokens.Decls, slices.Concat(tokens.Revoked, met.manual), now, r.window), m), nil
}

// with returns the state that follows s with the ledger l.
func (s *state) with(name string, l *rotation.Ledger[verify.Token], m *verify.Memory) *state {
	next := *s
	next.lastPrevious = s.previousLastUsed()
	next.ledger = l
	if next.loaded {
		next.set = m.NewTokenSet(l, name)
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
func (s *state) live(now time.Time) []*rotation.Entry[verify.Token] {
	if s == nil || s.set == nil {
		return nil
	}
	var live []*rotation.Entry[verify.Token]
	for i := range s.ledger.Entries {
		if e := &s.ledger.Entries[i]; e.Live(now) {
			live = append(live, e)
		}
	}
	return live
}
