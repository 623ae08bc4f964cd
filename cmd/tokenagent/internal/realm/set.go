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
	"github.com/tokenagent/tokenagent/internal/broadcast"
	"github.com/tokenagent/tokenagent/pkg/reload"
	"github.com/tokenagent/tokenagent/pkg/verify/httpauth"
)

// Options say how a Set is kept.
type Options struct {
	// Auth is the template of every Guard; Headers and Realm are the realm's.
	Auth   httpauth.Options
	Logger *slog.Logger

	// Of the file; as those of [reload.Options].
	Poll, Debounce time.Duration
}

// A Set is the realms of a process, in step with their file. Make one with [Open]
// or [Single]. It is safe for concurrent use.
type Set struct {
	o       Options
	watcher reload.Watcher        // which all agents share
	path    string                // of the file; "" for Single
	plan    *reload.Value[Plan]   // what the file says; nil for Single
	table   atomic.Pointer[Table] // what is in force
	misses  atomic.Uint64         // requests of no realm
	changed broadcast.Channel     // signals a change of the realms or of their readiness

	turn    chan struct{}          // held while a plan is put into force; a channel, so that waiting for it can end
	planned *Plan                  // that was tried last; guarded by turn
	fault   atomic.Pointer[string] // why that is not in force; nil if it is
	since   atomic.Int64           // when a plan was last put into force, Unix time in nanoseconds

	swap    sync.Mutex      // held while agents learn from those that they replace, and come into force
	run     context.Context //nolint:containedctx // ends with Close
	stop    context.CancelFunc
	running sync.WaitGroup
	closing sync.Once
}

// Single returns a Set of one realm without a name, which is a's and that of all
// requests. It does not close a.
func Single(a *agent.Agent, headers []string, o Options) *Set {
	s := &Set{o: o}
	r := s.newRealm(a, Spec{Headers: headers})
	s.table.Store(&Table{realms: []*Realm{r}, fallback: r, single: true})
	return s
}

// Open reads the file at path, of which parse makes a Plan, starts the agents of
// its realms, and keeps them in step with it until Close. The error names all
// that is wrong with the file, or the realms that cannot start. ctx bounds the
// start alone.
//
// A file that is bad later, or of which one realm cannot start, changes nothing
// and is tried again at every poll. The agents of realms that did not change stay
// as they are; where one did change, another agent starts from what the old one
// accepts and refuses, and learns before it decides what that one has learned since:
// see [agent.Agent.Merge].
func Open(ctx context.Context, path string, parse func(reload.Content) (*Plan, error), o Options) (*Set, error) {
	s := &Set{o: o, path: path, turn: make(chan struct{}, 1)}
	s.run, s.stop = context.WithCancel(context.WithoutCancel(ctx))
	if err := s.open(ctx, parse); err != nil {
		s.stop()
		return nil, err
	}
	if err := s.apply(ctx); err != nil {
		s.stop()
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	s.running.Go(func() { _ = s.plan.Run(s.run) })
	s.running.Go(func() { s.follow(s.run) })
	return s, nil
}

// open reads the file for the first time. A read that hangs is left behind when
// ctx ends.
func (s *Set) open(ctx context.Context, parse func(reload.Content) (*Plan, error)) error {
	done := make(chan error, 1)
	go func() {
		v, err := reload.Open(reload.File(s.path), func(_ *Plan, c reload.Content, _ time.Time) (*Plan, error) { return parse(c) }, reload.Options{
			Poll: s.o.Poll, Debounce: s.o.Debounce, Watcher: &s.watcher, Logger: s.o.Logger, Name: "config",
		})
		s.plan = v // and then it is told, or nobody looks
		done <- err
	}()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return fmt.Errorf("reading %s: %w", s.path, context.Cause(ctx))
	}
}

// startLimit bounds how long the agents of a changed file may take to start.
const startLimit = 30 * time.Second

// follow puts into force what the file says, and tries again what could not be,
// until ctx ends.
func (s *Set) follow(ctx context.Context) {
	every := s.o.Poll
	if every <= 0 {
		every = defaultPoll
	}
	again := time.NewTicker(every)
	defer again.Stop()
	for {
		updated := s.plan.Updated()
		started, cancel := context.WithTimeout(ctx, startLimit)
		if s.apply(started) != nil { // which is in the log and the status
			again.Reset(every)
		}
		cancel()
		select {
		case <-ctx.Done():
			return
		case <-updated:
		case <-again.C:
		}
	}
}

// defaultPoll is how often is tried again what could not be, where the file is not
// polled or as often as [reload.Options] has it.
const defaultPoll = 10 * time.Second

// Watcher returns what files of the process are watched with, for what is no
// realm's.
func (s *Set) Watcher() *reload.Watcher { return &s.watcher }

// Close stops watching the file and closes the agents of its realms, those of
// Single apart.
func (s *Set) Close() error {
	if s.plan == nil {
		return nil
	}
	s.closing.Do(func() {
		s.stop()
		s.turn <- struct{}{} // for good: nothing comes into force any more
		s.running.Wait()
		for _, r := range s.table.Load().realms {
			_ = r.Agent.Close() // what its state file had to say is in the log
		}
	})
	return nil
}

var (
	_ extauthz.Realms      = (*Set)(nil)
	_ prometheus.Collector = (*Set)(nil)
)

// Table returns the realms as they are now. It is for one decision: the agents of
// realms that have gone since are closed after a second.
func (s *Set) Table() *Table { return s.table.Load() }

// Ready reports whether any realm can decide: one whose source is late, as
// WaitForSource allows, holds up itself alone.
func (s *Set) Ready() bool {
	for _, r := range s.Table().realms {
		if r.Agent.Ready() {
			return true
		}
	}
	return false
}

// Updated returns a channel that is closed once another realm is in force, or ready.
// To miss nothing, take the channel first and look afterwards.
func (s *Set) Updated() <-chan struct{} {
	if s.plan == nil {
		return s.table.Load().realms[0].Agent.Updated()
	}
	return s.changed.Next()
}

// Reload reads the file and every source now. A fault is returned and changes
// nothing.
func (s *Set) Reload() (changed bool, err error) {
	var faults []error
	if s.plan != nil {
		before := s.table.Load()
		if _, err := s.plan.Reload(); err != nil {
			faults = append(faults, err)
		}
		ctx, cancel := context.WithTimeout(context.Background(), startLimit)
		defer cancel()
		if err := s.apply(ctx); err != nil {
			faults = append(faults, fmt.Errorf("%s: %w", s.path, err))
		}
		changed = s.table.Load() != before
	}
	for _, r := range s.Table().realms {
		news, err := r.Agent.Reload()
		changed = changed || news
		switch {
		case errors.Is(err, agent.ErrClosed): // it is of no realm any more, or another has taken over
		case err != nil && r.Name != "":
			faults = append(faults, fmt.Errorf("realm %s: %w", r.Name, err))
		default:
			faults = append(faults, err)
		}
	}
	return changed, errors.Join(faults...)
}

// Rule implements [extauthz.Realms]. The name comes from the gateway, so that it
// says which realm it is, and a host that is missing contradicts nothing. One that is
// malformed is refused all the same: the app behind may read another host in it.
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
		return nil
	}
	return r.Rule
}

// Missed counts a request that was refused because it is of no realm.
func (s *Set) Missed() { s.misses.Add(1) }
