package agent

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// checkPredecessor reports why a cannot take over from its predecessor.
func (a *Agent) checkPredecessor() error {
	p := a.cfg.Predecessor
	switch {
	case p == nil:
		return nil
	case p.closed.Load() || p.to.Load() != nil:
		return errSucceeded
	case p.cfg.StateFile != a.cfg.StateFile:
		return errors.New("agent: StateFile is not that of Predecessor, whose state file this Agent goes on writing; close that Agent first")
	case p.cfg.Group != a.cfg.Group:
		return errors.New("agent: Predecessor is of another Group; give both the same, or none")
	}
	return nil
}

var errSucceeded = errors.New("agent: Predecessor is closed, or has a successor already; take the one that is in use")

// inherit has the parts go on from where those of the predecessor are.
func (a *Agent) inherit() {
	p := a.cfg.Predecessor
	if p == nil {
		return
	}
	a.keeper = p.keeper
	a.eachInherited(p, part.inherit)
}

// A handover is from one Agent to its successor. It is settled by whichever of
// the two is closed first.
type handover struct {
	once sync.Once
	a    *Agent                // the successor
	p    atomic.Pointer[Agent] // its predecessor; nil once it is settled
	// moved is what the Group counts as gone because a does not count it.
	moved tally
}

// takeOver makes a the one that goes on. Both read their sources until one of them
// is closed, so that neither waits for the other; what is revoked or retired by
// hand goes to both from here on.
func (a *Agent) takeOver(ctx context.Context) error {
	p := a.cfg.Predecessor
	if p == nil {
		a.cfg.Group.begin(a, nil)
		return nil
	}
	h := &handover{a: a}
	h.p.Store(p)
	a.from = h // before anybody can come here through p
	if !p.to.CompareAndSwap(nil, h) {
		return errSucceeded
	}
	err := a.follow(ctx, p)
	if err == nil && p.closed.Load() {
		err = errSucceeded
	}
	if err != nil {
		p.to.Store(nil)
		_ = p.save() // is in the log and the status
		return err
	}
	h.moved = a.cfg.Group.begin(a, p)
	a.cfg.Predecessor = nil // it is not to be kept for as long as this one
	return nil
}

// follow goes on from what there is of p by now.
func (a *Agent) follow(ctx context.Context, p *Agent) error {
	done := make(chan struct{})
	go func() {
		a.eachInherited(p, part.catchUp)
		close(done)
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("agent: reading once more what the Predecessor read: %w", context.Cause(ctx))
	}
}

// CatchUp takes over once more what the Predecessor accepts and refuses by now, and
// reads the sources. Start has done so already; where the two went on side by side
// since, it is to be called before requests are given to a. It does nothing once
// the Predecessor is closed, or without one. The error is ctx's.
func (a *Agent) CatchUp(ctx context.Context) error {
	if a.from == nil {
		return nil
	}
	p := a.from.p.Load()
	if p == nil || p.closed.Load() {
		return nil
	}
	return a.follow(ctx, p)
}

// settle ends the handovers of an Agent that closes: it does not go back to it any
// more; and if it has taken over from one that is not closed, that one goes on, so
// that the takeover is taken back.
func (a *Agent) settle() (takenBack bool) {
	to := a.to.Load()
	if to != nil {
		to.once.Do(func() {
			to.p.Store(nil)
			to.a.each(part.caughtUp)
		})
	}
	if h := a.from; h != nil {
		h.once.Do(func() {
			p := h.p.Swap(nil)
			takenBack = to == nil
			if p.closed.Load() || to != nil {
				return // it must not be closed, but may; and a chain does not fork
			}
			p.cfg.Group.back(h, p)
			p.to.Store(nil)
			_ = p.save() // is in the log and the status
		})
	}
	return takenBack
}

func (a *Agent) eachInherited(p *Agent, f func(to, from part)) {
	if a.tokens != nil && p.tokens != nil {
		f(a.tokens, p.tokens)
	}
	if a.keys != nil && p.keys != nil {
		f(a.keys, p.keys)
	}
}

// inherit has m go on from what there is of from, which is of the same kind.
func (m *member[V, S]) inherit(from part) {
	p, ok := from.(*member[V, S])
	if !ok {
		return
	}
	m.catching = true
	m.initial = p.latest()
	m.users, m.counts = p.users, p.counts
}

// latest returns what there is.
func (m *member[V, S]) latest() *state[V, S] { return m.base(m.value.Load()) }

// maxCatchUp bounds how often a successor looks whether its predecessor has gone on
// meanwhile. It has at the first look, if its source changes no more often than
// it can be read.
const maxCatchUp = 100

// catchUp goes on from what there is of from once more: that may have read, revoked
// and retired since. So that what it has read is not undone, the source is read
// again first.
func (m *member[V, S]) catchUp(from part) {
	p, ok := from.(*member[V, S])
	if !ok {
		return
	}
	for range maxCatchUp {
		at := p.value.Load()
		if m.value.Stats().Applied > 0 {
			_, _ = m.value.Reload() // is in the book and in the log
		}
		m.value.Apply(func(prev *state[V, S], now time.Time) *state[V, S] {
			switch {
			case m.declared != nil:
				return m.proceed(p.base(at), *m.declared, now)
			case at != nil: // nothing good could be read; what was good stays
				return at
			default:
				return prev
			}
		})
		if p.value.Load() == at {
			break
		}
	}
}

// caughtUp ends it.
func (m *member[V, S]) caughtUp() {
	m.value.Apply(func(prev *state[V, S], _ time.Time) *state[V, S] {
		m.catching, m.declared = false, nil
		return prev
	})
}
