package realm

import (
	"context"
	"fmt"
	"reflect"
	"sync"
	"time"

	"github.com/hashicorp/go-multierror"

	"github.com/tokenagent/tokenagent/agent"
	"github.com/tokenagent/tokenagent/internal/option"
)

// apply puts the content of the file into force, unless it is in force already or the
// file has become bad since it was read.
func (s *Set) apply(ctx context.Context) error {
	s.changing.Lock()
	defer s.changing.Unlock()
	if s.run.Err() != nil {
		return agent.ErrClosed
	}
	plan, last := s.plan.Load(), s.table.Load()
	if last != nil && last.plan == plan || s.plan.Stats().LastError != nil {
		return nil
	}
	realms, err := s.start(ctx, last, plan)
	if err != nil {
		s.logResult(err)
		return err
	}
	now := newTable(realms, plan, s.o.Auth)
	for _, r := range now.realms {
		// The replaced agent may have read or revoked something since the new agent started.
		if before := last.Named(r.Name); before != nil && before.Agent != r.Agent {
			_ = r.Agent.Merge(before.Agent.Snapshot()) // the agent logs an error of its state file
		}
	}
	s.table.Store(now)
	s.logResult(nil) // not earlier: the status must not call the file good before it is in force
	for _, r := range now.realms {
		if !last.has(r) && !r.Agent.Ready() {
			s.running.Go(func() { s.announce(r) })
		}
	}
	s.updated.Send() // not earlier: a realm may have become ready before the loop asked it
	if last != nil {
		s.logChanges(last, now)
		s.running.Go(func() { s.closeReplaced(last, now) })
	}
	return nil
}

// has reports whether t, which may be nil, has a realm with the name and the agent of r.
func (t *Table) has(r *Realm) bool {
	mine := t.Named(r.Name)
	return mine != nil && mine.Agent == r.Agent
}

// start returns the realms of plan. A realm with the same configuration as in last keeps
// its agent, and every other realm gets a new one. If one cannot start, start closes the
// new agents; those of last are not affected.
func (s *Set) start(ctx context.Context, last *Table, plan *Plan) ([]*Realm, error) {
	realms, errs := make([]*Realm, len(plan.Specs)), make([]error, len(plan.Specs))
	var running sync.WaitGroup
	slots := make(chan struct{}, 32) // a start pauses between two reads of its source, so many can overlap
	for i, spec := range plan.Specs {
		slots <- struct{}{}
		running.Go(func() {
			realms[i], errs[i] = s.startRealm(ctx, last.Named(spec.Name), spec)
			<-slots
		})
	}
	running.Wait()
	failed := &multierror.Error{ErrorFormat: option.OneLine}
	for i, err := range errs {
		if err != nil {
			failed.Errors = append(failed.Errors, fmt.Errorf("realm %s: %w", plan.Specs[i].Name, err))
		}
	}
	if len(failed.Errors) == 0 {
		return realms, nil
	}
	for _, r := range realms {
		if r != nil && !last.has(r) {
			_ = r.Agent.Close()
		}
	}
	return nil, failed
}

// startRealm returns the realm of spec. before is the realm that it replaces, or nil.
func (s *Set) startRealm(ctx context.Context, before *Realm, spec Spec) (*Realm, error) {
	if before != nil && reflect.DeepEqual(before.config, spec.Config) {
		return s.newRealm(before.Agent, spec), nil
	}
	cfg := spec.Config
	cfg.Watcher = &s.watcher
	if before != nil {
		from := before.Agent.Snapshot()
		cfg.From = &from
	}
	a, err := agent.Start(ctx, cfg)
	if err != nil {
		return nil, err
	}
	return s.newRealm(a, spec), nil
}

// grace is how long a replaced agent still decides, for requests that looked up their
// realm before. A request that takes longer is answered 503.
const grace = time.Second

// closeReplaced closes the agents of last that are not in now, after the grace. Then it
// merges their final state into the agents that replaced them.
func (s *Set) closeReplaced(last, now *Table) {
	select {
	case <-time.After(grace):
	case <-s.run.Done():
	}
	for _, r := range last.realms {
		if now.has(r) {
			continue
		}
		_ = r.Agent.Close() // the agent logs an error of its state file
		s.changing.Lock()
		if after := s.table.Load().Named(r.Name); after != nil && now.Named(r.Name) != nil {
			_ = after.Agent.Merge(r.Agent.Snapshot())
		}
		s.changing.Unlock()
	}
}

// announce signals an update once r is ready, if r is still in force then.
func (s *Set) announce(r *Realm) {
	for s.table.Load().has(r) {
		updated := r.Agent.Updated()
		if r.Agent.Ready() {
			s.updated.Send()
			return
		}
		select {
		case <-updated:
		case <-s.run.Done():
			return
		}
	}
}

// logResult stores the result of an attempt to apply a plan, and logs it if it is new.
func (s *Set) logResult(err error) {
	text := ""
	if err != nil {
		text = err.Error()
	}
	switch was := *s.applyErr.Swap(&text); {
	case text == was:
	case err == nil:
		s.o.Logger.Info("the file was applied", "file", s.path)
	case s.table.Load() != nil:
		s.o.Logger.Error("the file was not applied; the realms stay as they were", "file", s.path, "error", err)
	}
}

func (s *Set) logChanges(last, now *Table) {
	var added, changed, removed []string
	for _, r := range now.realms {
		switch was := last.Named(r.Name); {
		case was == nil:
			added = append(added, r.Name)
		case was.Agent != r.Agent:
			changed = append(changed, r.Name)
		}
	}
	for _, r := range last.realms {
		if now.Named(r.Name) == nil {
			removed = append(removed, r.Name)
		}
	}
	s.o.Logger.Info("the realms have changed", "added", added, "changed", changed, "removed", removed, "realms", len(now.realms))
}
