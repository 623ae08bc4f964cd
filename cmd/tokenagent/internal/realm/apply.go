package realm

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-multierror"

	"github.com/tokenagent/tokenagent/agent"
)

// apply puts into force what the file says now, if it is not yet.
func (s *Set) apply(ctx context.Context) error {
	select {
	case s.turn <- struct{}{}:
		defer func() { <-s.turn }()
	case <-s.run.Done():
		return agent.ErrClosed
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(s.run, cancel)() //nolint:contextcheck // the set ends it, too
	plan, last := s.plan.Load(), s.table.Load()
	if plan == s.planned && (s.fault.Load() == nil || s.plan.Stats().LastError != nil) {
		return nil // it is in force, or no more what the file says
	}
	agents, err := s.agents(ctx, last, plan)
	s.planned = plan
	if s.note(err); err != nil {
		return err
	}
	now := s.newTable(plan, agents)
	s.putIntoForce(last, now)
	for _, r := range now.realms {
		if !last.has(r) {
			s.running.Go(func() { s.announce(r) })
		}
	}
	if last != nil {
		s.tell(last, now)
		s.running.Go(func() { s.closeGone(last, now) })
	}
	return nil
}

// has reports whether the realm of r's name has r's agent in t, which may be nil.
func (t *Table) has(r *Realm) bool {
	mine := t.Named(r.Name)
	return mine != nil && mine.Agent == r.Agent
}

// putIntoForce replaces last by now, whose agents first learn what those have
// learned since whose place they take.
func (s *Set) putIntoForce(last, now *Table) {
	s.swap.Lock()
	defer s.swap.Unlock()
	var learning sync.WaitGroup
	turn := make(chan struct{}, startAtOnce)
	for _, r := range now.realms {
		if before := last.Named(r.Name); before != nil && before.Agent != r.Agent {
			learning.Go(func() {
				turn <- struct{}{}
				_ = r.Agent.Merge(before.Agent.Snapshot()) // what its state file has to say is in the log
				<-turn
			})
		}
	}
	learning.Wait()
	s.table.Store(now)
	s.since.Store(time.Now().UnixNano())
	s.changed.Send()
}

// grace is how long an agent goes on deciding once another is in its place, for the
// requests that had looked up their realm before. One that takes longer gets 503.
const grace = time.Second

// closeGone closes, after the grace, the agents of last that are not in now. What they
// have learned until then is not lost either.
func (s *Set) closeGone(last, now *Table) {
	select {
	case <-time.After(grace):
	case <-s.run.Done():
	}
	for _, r := range last.realms {
		if now.has(r) {
			continue
		}
		_ = r.Agent.Close() // what its state file has to say is in the log
		s.swap.Lock()
		if after := s.table.Load().Named(r.Name); after != nil && now.Named(r.Name) != nil {
			_ = after.Agent.Merge(r.Agent.Snapshot())
		}
		s.swap.Unlock()
	}
}

// announce tells those who wait for a change once r can decide, if it is still in
// force then.
func (s *Set) announce(r *Realm) {
	for {
		updated := r.Agent.Updated()
		switch {
		case !s.table.Load().has(r):
			return
		case r.Agent.Ready():
			s.changed.Send()
			return
		}
		select {
		case <-updated:
		case <-s.run.Done():
			return
		}
	}
}

// note remembers why a plan is not in force, and logs it once until that changes.
func (s *Set) note(err error) {
	was := s.fault.Load()
	switch {
	case err == nil && was != nil:
		s.fault.Store(nil)
		s.o.Logger.Info("the realms can start now", "file", s.path)
	case err != nil && (was == nil || *was != err.Error()):
		text := err.Error()
		s.fault.Store(&text)
		if s.table.Load() != nil {
			s.o.Logger.Error("the file is not in force, and nothing has changed", "file", s.path, "error", err)
		}
	}
}

// newTable makes a Table of plan with its agents.
func (s *Set) newTable(plan *Plan, agents []*agent.Agent) *Table {
	t := &Table{byName: make(map[string]*Realm), byHost: make(map[string]*Realm)}
	for i, spec := range plan.Specs {
		t.add(s.newRealm(agents[i], spec))
	}
	t.finish(plan)
	t.ofNone(s.o.Auth)
	return t
}

// startAtOnce is how many agents start, or write a state file, at the same time: one
// that starts reads its sources twice with a pause between.
const startAtOnce = 32

// agents returns the agents of plan, in its order: those of last whose realms did
// not change, and others. After an error those of last go on as before.
func (s *Set) agents(ctx context.Context, last *Table, plan *Plan) ([]*agent.Agent, error) {
	agents, faults := make([]*agent.Agent, len(plan.Specs)), make([]error, len(plan.Specs))
	fresh := make([]*agent.Agent, len(plan.Specs))
	var starting sync.WaitGroup
	turn := make(chan struct{}, startAtOnce)
	for i, spec := range plan.Specs {
		before := last.Named(spec.Name)
		if before != nil && before.settings == spec.Settings {
			agents[i] = before.Agent
			continue
		}
		starting.Go(func() {
			turn <- struct{}{}
			defer func() { <-turn }()
			cfg := spec.Config
			cfg.Watcher = &s.watcher
			if before != nil {
				from := before.Agent.Snapshot()
				cfg.From = &from
			}
			var err error
			if agents[i], err = agent.Start(ctx, cfg); err != nil {
				faults[i] = fmt.Errorf("realm %s: %w", spec.Name, err)
			}
			fresh[i] = agents[i]
		})
	}
	starting.Wait()
	var fault *multierror.Error
	for _, err := range faults {
		if err != nil {
			fault = multierror.Append(fault, err)
		}
	}
	if fault == nil {
		return agents, nil
	}
	for _, a := range fresh {
		if a != nil {
			_ = a.Close()
		}
	}
	fault.ErrorFormat = oneEach
	return nil, fault
}

func oneEach(errs []error) string {
	texts := make([]string, len(errs))
	for i, err := range errs {
		texts[i] = err.Error()
	}
	return strings.Join(texts, "; ")
}

// tell logs what changed.
func (s *Set) tell(last, now *Table) {
	var added, changed, removed []string
	for _, r := range now.realms {
		switch was := last.byName[r.Name]; {
		case was == nil:
			added = append(added, r.Name)
		case was.Agent != r.Agent:
			changed = append(changed, r.Name)
		}
	}
	for _, r := range last.realms {
		if now.byName[r.Name] == nil {
			removed = append(removed, r.Name)
		}
	}
	s.o.Logger.Info("the realms have changed", "added", added, "changed", changed, "removed", removed, "realms", len(now.realms))
}
