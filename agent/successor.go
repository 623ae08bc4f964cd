package agent

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// holdPredecessor keeps the sources of a's predecessor from being read while a
// takes over, so that it misses none of their changes: what the one had read last,
// the other goes on from. release lets it go on reading.
func (a *Agent) holdPredecessor(ctx context.Context) (release func(), err error) {
	p := a.cfg.Predecessor
	if p == nil {
		return func() {}, nil
	}
	switch {
	case p.closed.Load() || p.to.Load() != nil:
		return nil, errors.New("agent: Predecessor is closed, or has a successor already; take the one that is in use")
	case p.cfg.StateFile != a.cfg.StateFile:
		return nil, errors.New("agent: StateFile is not that of Predecessor; what it holds is known under its names: close that Agent first")
	case p.cfg.Group != a.cfg.Group:
		return nil, errGroupPredecessor
	}
	var held []func()
	release = func() {
		for _, f := range held {
			f()
		}
	}
	for _, of := range p.parts {
		f, err := of.hold(ctx)
		if err != nil {
			release()
			return nil, fmt.Errorf("agent: waiting for a read of %s to end: %w", of.source().location, err)
		}
		held = append(held, f)
	}
	return release, nil
}

// inherit has the parts go on from where those of the predecessor are.
func (a *Agent) inherit() {
	p := a.cfg.Predecessor
	if p == nil {
		return
	}
	a.keeper = p.keeper
	a.eachInherited(part.inherit)
}

// A handover is from one Agent to its successor. It is settled by whichever of
// the two is closed first.
type handover struct {
	once    sync.Once
	a       *Agent // the successor
	p       *Agent // its predecessor; nil once that has been closed
	release func() // has p read again
}

// takeOver makes a the one that goes on. What was revoked by hand meanwhile is
// revoked here, too.
func (a *Agent) takeOver(release func()) {
	p := a.cfg.Predecessor
	if p == nil {
		a.cfg.Group.begin(a, nil)
		return
	}
	a.from = &handover{a: a, p: p, release: release}
	p.to.Store(a.from)
	a.eachInherited(part.catchUp)
	a.cfg.Group.begin(a, p)
	a.cfg.Predecessor = nil // it is not to be kept for as long as this one
}

// settle ends the handovers of an Agent that closes: it does not go back to it any
// more; and if it has taken over from one that is not closed, that one goes on, so
// that the takeover is taken back.
func (a *Agent) settle() (takenBack bool) {
	if h := a.to.Load(); h != nil {
		h.once.Do(func() { h.p = nil })
	}
	if h := a.from; h != nil {
		h.once.Do(func() {
			if !h.p.closed.Load() { // as it must not be, but may
				h.p.cfg.Group.begin(h.p, a)
			}
			h.p.to.Store(nil)
			h.release()
			takenBack = true
		})
	}
	return takenBack
}

func (a *Agent) eachInherited(f func(to, from part)) {
	p := a.cfg.Predecessor
	if a.tokens != nil && p.tokens != nil {
		f(a.tokens, p.tokens)
	}
	if a.keys != nil && p.keys != nil {
		f(a.keys, p.keys)
	}
}

// hold keeps the source from being read until release is called.
func (m *member[V, S]) hold(ctx context.Context) (release func(), err error) {
	return m.value.Hold(ctx)
}

// inherit begins with what there is of from, which is of the same kind.
func (m *member[V, S]) inherit(from part) {
	p, ok := from.(*member[V, S])
	if !ok {
		return
	}
	m.memory.Store(p.memory.Load())
	m.initial, m.was = p.base(p.value.Load()), p.was
	m.users, m.counts = p.users, p.counts
	m.mustLoad = m.initial.loaded
}

// catchUp revokes what from had revoked by hand since it was inherited.
func (m *member[V, S]) catchUp(from part) {
	p, ok := from.(*member[V, S])
	if !ok {
		return
	}
	m.value.Apply(func(prev *state[V, S], _ time.Time) *state[V, S] {
		s := m.base(prev)
		known := len(m.initial.manual)
		theirs := p.base(p.value.Load())
		if len(theirs.manual) == known {
			return prev
		}
		next := *s
		next.manual = theirs.manual
		return m.with(&next, s.ledger.Revoke(m.named(s, nil, theirs.manual[known:])...), nil)
	})
}
