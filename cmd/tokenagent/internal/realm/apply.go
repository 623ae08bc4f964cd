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

// apply puts the content of the file into force, if it is not in force yet.
func (s *Set) apply(ctx context.Context) error {
	s.changing.Lock()
	defer s.changing.Unlock()
	if s.run.Err() != nil {
		return agent.ErrClosed
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(s.run, cancel)() //nolint:contextcheck // Close ends the start, too
	plan, last := s.plan.Load(), s.table.Load()
	if plan == s.tried && (s.applyErr.Load() == nil || s.plan.Stats().LastError != nil) {
		return nil // it is in force, or the file has become bad since
	}
	s.tried = plan
	realms, err := s.start(ctx, last, plan)
	if err != nil {
		s.logResult(err)
		return err
	}
	now := newTable(realms, plan, s.o.Auth)
	s.swap(last, now)
	s.logResult(nil) // only now: the status must not call the file good before it is in force
	for _, r := range now.realms {
		if !last.has(r) {
			s.running.Go(func() { s.announce(r) })
		}
	}
	if last != nil {
		s.logChanges(last, now)
		s.running.Go(func() { s.closeGone(last, now) })
	}
	return nil
}

// has reports whether t, which may be nil, has a realm with the name and the agent of r.
func (t *Table) has(r *Realm) bool {
	mine := t.Named(r.Name)
	return mine != nil && mine.Agent == r.Agent
}

// start returns the realms of plan. Unchanged realms keep their agent of last, and the
// others get a new one. After an error the agents of last go on as before.
func (s *Set) start(ctx context.Context, last *Table, plan *Plan) ([]*Realm, error) {
	realms, errs := make([]*Realm, len(plan.Specs)), make([]error, len(plan.Specs))
	inParallel(len(realms), func(i int) {
		spec := plan.Specs[i]
		before := last.Named(spec.Name)
		if before != nil && reflect.DeepEqual(before.config, spec.Config) {
			realms[i] = s.newRealm(before.Agent, spec)
			return
		}
		cfg := spec.Config
		cfg.Watcher = &s.watcher
		if before != nil {
			from := before.Agent.Snapshot()
			cfg.From = &from
		}
		a, err := agent.Start(ctx, cfg)
		if err != nil {
			errs[i] = fmt.Errorf("realm %s: %w", spec.Name, err)
			return
		}
		realms[i] = s.newRealm(a, spec)
	})
	failed := &multierror.Error{ErrorFormat: option.OneLine}
	for _, err := range errs {
		if err != nil {
			failed.Errors = append(failed.Errors, err)
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

// inParallel calls f for 0 to n-1, and returns when all calls have. An agent that starts
// reads its sources twice with a pause between, so that many can start at the same time.
func inParallel(n int, f func(i int)) {
	var running sync.WaitGroup
	slots := make(chan struct{}, 32)
	for i := range n {
		slots <- struct{}{}
		running.Go(func() {
			f(i)
			<-slots
		})
	}
	running.Wait()
}

// swap replaces last with now. The new agents first learn what the agents that they
// replace have learned since the start.
func (s *Set) swap(last, now *Table) {
	inParallel(len(now.realms), func(i int) {
		r := now.realms[i]
		if before := last.Named(r.Name); before != nil && before.Agent != r.Agent {
			_ = r.Agent.Merge(before.Agent.Snapshot()) // an error of its state file is in the log
		}
	})
	s.table.Store(now)
	s.since.Store(time.Now().UnixNano())
	s.updated.Send()
}

// grace is how long a replaced agent still decides, for requests that had looked up
// their realm before. A request that takes longer gets 503.
const grace = time.Second

// closeGone closes, after the grace, the agents of last that are not in now. The agents
// that replaced them learn what they have learned until then.
func (s *Set) closeGone(last, now *Table) {
	select {
	case <-time.After(grace):
	case <-s.run.Done():
	}
	for _, r := range last.realms {
		if now.has(r) {
			continue
		}
		_ = r.Agent.Close() // an error of its state file is in the log
		s.changing.Lock()
		if after := s.table.Load().Named(r.Name); after != nil && now.Named(r.Name) != nil {
			_ = after.Agent.Merge(r.Agent.Snapshot())
		}
		s.changing.Unlock()
	}
}

// announce signals an update once r is ready, if it is still in force then.
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

// logResult stores the error of an attempt to apply a plan, and logs it if it is new.
func (s *Set) logResult(err error) {
	was := s.applyErr.Load()
	switch {
	case err == nil && was != nil:
		s.applyErr.Store(nil)
		s.o.Logger.Info("the realms can start now", "file", s.path)
	case err != nil && (was == nil || *was != err.Error()):
		text := err.Error()
		s.applyErr.Store(&text)
		if s.table.Load() != nil {
			s.o.Logger.Error("the file is not in force, and nothing has changed", "file", s.path, "error", err)
		}
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
