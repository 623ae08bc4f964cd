package realm

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tokenagent/tokenagent/agent"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/extauthz"
	"github.com/tokenagent/tokenagent/internal/bounded"
	"github.com/tokenagent/tokenagent/internal/broadcast"
	"github.com/tokenagent/tokenagent/pkg/reload"
	"github.com/tokenagent/tokenagent/pkg/verify/httpauth"
)

// Options configure a Set.
type Options struct {
	Auth           httpauth.Options // the template of every Guard; each realm sets Headers and Realm
	Logger         *slog.Logger
	Poll, Debounce time.Duration // of the file; see [reload.Options]
}

// A Set keeps the realms of a process in step with their file. [Open] and [Single] make
// one. It is safe for concurrent use.
type Set struct {
	o       Options
	watcher reload.Watcher        // all agents share it
	path    string                // of the file; "" for Single
	plan    *reload.Value[Plan]   // the content of the file; nil for Single
	table   atomic.Pointer[Table] // the realms in force
	misses  atomic.Uint64         // requests that belong to no realm
	updated broadcast.Channel     // signals that another realm is in force, or ready

	changing sync.Mutex             // serializes changes of the table, and Merge
	applyErr atomic.Pointer[string] // why the content of the file is not in force; "" if it is

	run     context.Context //nolint:containedctx // ends with Close
	stop    context.CancelFunc
	running sync.WaitGroup
}

var (
	_ extauthz.Realms      = (*Set)(nil)
	_ prometheus.Collector = (*Set)(nil)
)

// Single returns a Set of the realm of spec, which has no name, and to which all requests
// belong. a decides about them. Close does not close a.
func Single(a *agent.Agent, spec Spec, o Options) *Set {
	s := &Set{o: o}
	r := s.newRealm(a, spec)
	s.table.Store(&Table{realms: []*Realm{r}, fallback: r, single: true})
	return s
}

// Open reads the file at path with parse, starts the agents of its realms, and keeps
// them in step with the file until Close. The error names everything that is wrong with
// the file, or the realms that cannot start. ctx bounds only the start.
//
// If the file becomes bad later, or if one of its realms cannot start, nothing changes,
// and the Set tries again at every poll. The agents of unchanged realms stay. The new
// agent of a changed realm starts from what the old agent accepts and refuses, as
// [agent.Agent.Merge] describes.
func Open(ctx context.Context, path string, parse func(reload.Content) (*Plan, error), o Options) (*Set, error) {
	s := &Set{o: o, path: path}
	s.applyErr.Store(new(string))
	s.run, s.stop = context.WithCancel(context.WithoutCancel(ctx))
	step := func(_ *Plan, c reload.Content, _ time.Time) (*Plan, error) { return parse(c) }
	var err error
	s.plan, err = bounded.Do(ctx, path, func() (*reload.Value[Plan], error) {
		return reload.Open(reload.File(path), step, reload.Options{
			Poll: o.Poll, Debounce: o.Debounce, Watcher: &s.watcher, Logger: o.Logger, Name: "config",
		})
	})
	if err == nil {
		if err = s.apply(ctx); err != nil {
			err = fmt.Errorf("%s: %w", path, err)
		}
	}
	if err != nil {
		s.stop()
		return nil, err
	}
	s.running.Go(func() { _ = s.plan.Run(s.run) })
	s.running.Go(s.follow)
	return s, nil
}

// follow applies each new content of the file until Close. If the content cannot be
// applied, follow tries again after the poll interval, or 10 s if the file is not polled.
func (s *Set) follow() {
	every := s.o.Poll
	if every <= 0 {
		every = 10 * time.Second
	}
	retry := time.NewTicker(every)
	defer retry.Stop()
	for {
		updated := s.plan.Updated()
		if s.applyInTime() != nil { // the log and the status show it
			retry.Reset(every)
		}
		select {
		case <-s.run.Done():
			return
		case <-updated:
		case <-retry.C:
		}
	}
}

// applyInTime is apply with a time limit for the start of the agents.
func (s *Set) applyInTime() error {
	ctx, cancel := context.WithTimeout(s.run, 30*time.Second)
	defer cancel()
	return s.apply(ctx)
}

// Watcher returns the file watcher that all agents share.
func (s *Set) Watcher() *reload.Watcher { return &s.watcher }

// Close stops watching the file and closes the agents of its realms. It can be called
// again.
func (s *Set) Close() error {
	if s.plan == nil {
		return nil
	}
	s.stop()
	s.changing.Lock() // waits for a change that has begun; no other begins
	table := s.table.Load()
	s.changing.Unlock()
	bounded.Wait(s.running.Wait)
	var closing sync.WaitGroup
	for _, r := range table.realms {
		closing.Go(func() { _ = r.Agent.Close() }) // the agent logs an error of its state file
	}
	closing.Wait()
	return nil
}

// Table returns the present realms, for one decision. The agent of a realm is closed
// about a second after it was replaced or removed.
func (s *Set) Table() *Table { return s.table.Load() }

// Ready reports whether any realm can decide. A realm that still waits for its source
// does not delay the others.
func (s *Set) Ready() bool {
	for _, r := range s.Table().realms {
		if r.Agent.Ready() {
			return true
		}
	}
	return false
}

// Updated returns a channel that is closed when another realm is in force, or ready.
// A caller that must not miss a change calls Updated before it reads the state.
func (s *Set) Updated() <-chan struct{} {
	if s.plan == nil {
		return s.table.Load().realms[0].Agent.Updated()
	}
	return s.updated.Next()
}

// Reload reads the file and every source now. An error changes nothing.
func (s *Set) Reload() (changed bool, err error) {
	var errs []error
	before := s.Table()
	if s.plan != nil {
		if _, err := s.plan.Reload(); err != nil {
			errs = append(errs, err)
		}
		if err := s.applyInTime(); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", s.path, err))
		}
	}
	table := s.Table()
	changed = table != before
	for _, r := range table.realms {
		agentChanged, err := r.Agent.Reload()
		changed = changed || agentChanged
		switch {
		case errors.Is(err, agent.ErrClosed): // the realm was removed or replaced in the meantime
		case err != nil && r.Name != "":
			errs = append(errs, fmt.Errorf("realm %s: %w", r.Name, err))
		default:
			errs = append(errs, err)
		}
	}
	return changed, errors.Join(errs...)
}

// Rule implements [extauthz.Realms]. A name comes from the gateway, so it needs no host.
// A malformed host is refused even with a name: the app behind the gateway may read
// another host in it.
func (s *Set) Rule(name string, named bool, host string) *extauthz.Rule {
	t := s.Table()
	var r *Realm
	if !named || t.single {
		r = t.ByHost(host)
	} else if _, ok := ParseHost(host); ok || host == "" {
		r = t.Named(name)
	}
	if r == nil {
		s.Missed()
		return t.denyAllRule
	}
	return r.Rule
}

// Missed counts a request that was refused because it belongs to no realm.
func (s *Set) Missed() { s.misses.Add(1) }
