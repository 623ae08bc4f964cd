package realm

import (
	"context"
	"fmt"
	"slices"
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
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	plan, last := s.plan.Load(), s.table.Load()
	if plan == s.planned && (s.fault.Load() == nil || s.plan.Stats().LastError != nil) {
		return nil // it is in force, or no more what the file says
	}
	agents, err := s.agents(ctx, last, plan)
	s.planned = plan
	if s.note(err); err != nil {
		return err
	}
	now := s.newTable(plan, agents) // whose agents have caught up
	s.table.Store(now)
	s.since.Store(time.Now().UnixNano())
	if last == nil {
		return nil
	}
	s.tell(last, now)
	// Nobody asks the old ones any more, once those have left who were about to.
	last.retire()
	kept := make(map[*agent.Agent]struct{}, len(agents))
	for _, a := range agents {
		kept[a] = struct{}{}
	}
	for _, r := range last.realms {
		if _, ok := kept[r.Agent]; !ok {
			_ = r.Agent.Close() // what its state file has to say is in the log
		}
	}
	return nil
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
		t.add(newRealm(agents[i], spec, s.o.Auth))
	}
	t.finish(plan)
	return t
}

// startAtOnce is how many agents start at the same time: each reads its sources
// twice with a pause between.
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
			cfg.Group = &s.group
			if before != nil {
				cfg.Predecessor = before.Agent
			}
			var err error
			if agents[i], err = agent.Start(ctx, cfg); err != nil {
				faults[i] = fmt.Errorf("realm %s: %w", spec.Name, err)
			}
			fresh[i] = agents[i]
		})
	}
	starting.Wait()
	// Some have waited for others since they took over.
	started := !slices.ContainsFunc(faults, func(err error) bool { return err != nil })
	for i, a := range fresh {
		if a != nil && started {
			starting.Go(func() {
				if err := a.CatchUp(ctx); err != nil {
					faults[i] = fmt.Errorf("realm %s: %w", plan.Specs[i].Name, err)
				}
			})
		}
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
			_ = a.Close() // which gives back to its predecessor what it had taken over
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
