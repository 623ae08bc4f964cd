package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tokenagent/tokenagent/internal/jwt"
	"github.com/tokenagent/tokenagent/internal/rotation"
	"github.com/tokenagent/tokenagent/internal/token"
	"github.com/tokenagent/tokenagent/pkg/reload"
	"github.com/tokenagent/tokenagent/pkg/verify"
)

// A source is one credential source of an Agent, with its state. V is the type of its
// credentials, and S the set of credentials that verifies requests.
type source[V credential, S any] struct {
	spec    *sourceSpec
	log     *slog.Logger
	value   *reload.Value[state[V, S]]
	initial *state[V, S] // from the state file or Config.From; nil if there is none
	closed  *atomic.Bool // whether the Agent is closed

	users     *previousUsers
	counts    *counts
	durations prometheus.Histogram // of reads
	// formerNames are the other names of the source in the Agents whose Snapshots this
	// Agent started from.
	formerNames []string

	// The functions below depend on the type of the credentials.

	parse func(reload.Content) (declaration[V], error)
	build func(l *rotation.Ledger[V], before *S, declared []rotation.Decl[V]) *S
	// encode returns the form of a credential in the state file, and nil if the
	// credential is secret. decode is its inverse.
	encode func(V) json.RawMessage
	decode func(rotation.SnapshotEntry) (V, bool)
	// expires returns the exp of a credential, and the zero Time if it has none.
	expires func(V) time.Time
	// longestLifetime returns the longest lifetime of the accepted tokens that the
	// credentials signed, and 0 if they signed none.
	longestLifetime func() time.Duration
	// usable reports whether the credentials may verify requests now.
	usable func() bool
	// fileError returns the error of the CA or token file of a key server.
	fileError func() error
}

// The two kinds of sources.
type (
	tokenSource = source[token.Token, token.Set]
	keySource   = source[jwt.Key, jwt.KeySet]
)

// A credentialSource is a source of any type: the methods that an Agent calls on all of
// its sources.
type credentialSource interface {
	open(r *resolved, w *reload.Watcher) error
	run(ctx context.Context)
	logChanges(ctx context.Context, changed func())
	close()

	info() *sourceSpec
	isReady() bool
	updated() <-chan struct{}
	reload() (changed bool, err error)
	revoke(id rotation.ID)
	unrevoke(id rotation.ID) error
	retire()
	verified(p *verify.Principal) bool
	awaitRevocation(ctx context.Context, p *verify.Principal) bool
	recordPreviousUse(p *verify.Principal, remote string)

	restore(w storedSource, now time.Time)
	publishInitial()
	adopt(w storedSource)
	stored(now time.Time) storedSource
	status(now time.Time) SourceStatus
	collect(e emitter, now time.Time)
}

// newSource returns a source without the functions that depend on the type of the
// credentials, except for defaults. closed is set when the Agent is closed.
func newSource[V credential, S any](spec *sourceSpec, closed *atomic.Bool, log *slog.Logger) *source[V, S] {
	return &source[V, S]{
		spec: spec, log: log.With("source", spec.name), closed: closed,
		users: newPreviousUsers(), counts: newCounts(), durations: newDurations(spec.name),
		expires:         func(V) time.Time { return time.Time{} },
		longestLifetime: func() time.Duration { return 0 },
		usable:          func() bool { return true },
		fileError:       func() error { return nil },
	}
}

// open reads the source for the first time.
func (src *source[V, S]) open(r *resolved, w *reload.Watcher) (err error) {
	poll, debounce := r.Poll, r.Debounce
	if src.spec.remote {
		// The source decides whether a poll makes a request. A response is complete, so
		// it needs no debounce.
		poll, debounce = remotePoll, -1
	}
	src.value, err = reload.Open(src.spec.source, src.step, reload.Options{
		Poll: poll, Debounce: debounce, Watcher: w, PollOnly: r.PollOnly,
		Observe: func(d time.Duration) { src.durations.Observe(d.Seconds()) },
		Wait:    r.WaitForSource, Logger: r.Logger, Name: src.spec.name,
	})
	return err
}

func (src *source[V, S]) info() *sourceSpec        { return src.spec }
func (src *source[V, S]) run(ctx context.Context)  { _ = src.value.Run(ctx) }
func (src *source[V, S]) updated() <-chan struct{} { return src.value.Updated() }

func (src *source[V, S]) reload() (changed bool, err error) {
	changed, err = src.value.Reload()
	return changed, errors.Join(err, src.fileError())
}

// isReady reports whether the source has been loaded, or has credentials of a Snapshot
// that are usable.
func (src *source[V, S]) isReady() bool {
	return src.value.Stats().Applied > 0 || src.lastState().loaded && src.usable()
}

// step is the [reload.Step] of the source. After Close, step returns ErrClosed, so that a
// read that began before Close publishes nothing. The Value serializes steps and calls of
// apply.
func (src *source[V, S]) step(prev *state[V, S], c reload.Content, now time.Time) (*state[V, S], error) {
	if src.closed.Load() {
		return nil, ErrClosed
	}
	return src.advance(src.orInitial(prev), c, now)
}

// orInitial returns s or, if s is nil, the initial state. The result is never nil.
func (src *source[V, S]) orInitial(s *state[V, S]) *state[V, S] {
	switch {
	case s != nil:
		return s
	case src.initial != nil:
		return src.initial
	default:
		return emptyState[V, S]()
	}
}

// set returns the set that verifies requests now, and nil if there is none.
func (src *source[V, S]) set() *S {
	if s := src.value.Load(); s != nil {
		return s.set
	}
	return nil
}

// accepted returns the entries of s that verify requests at now.
func (src *source[V, S]) accepted(s *state[V, S], now time.Time) []*rotation.Entry[V] {
	if !src.usable() {
		return nil
	}
	return s.live(now)
}

func (src *source[V, S]) revoke(id rotation.ID) {
	src.apply(func(s *state[V, S], _ time.Time) *state[V, S] {
		if s.ledger.HasRevocation(id) {
			return s
		}
		next := *s
		next.lifted = slices.DeleteFunc(slices.Clone(s.lifted), func(other rotation.ID) bool { return other == id })
		return src.with(&next, s.ledger.Revoke(id), nil)
	})
}

// unrevoke lifts the revocation of id and accepts the credential if the source declares
// it. If the source itself revokes id, unrevoke returns an error.
func (src *source[V, S]) unrevoke(id rotation.ID) (err error) {
	src.apply(func(s *state[V, S], now time.Time) *state[V, S] {
		if slices.Contains(s.content.Revoked, id) || slices.Contains(s.rejected, id) {
			err = fmt.Errorf("agent: %s revokes it; remove that revocation first (tokenagent rotate unrevoke)", src.spec.location)
			return s
		}
		if !s.ledger.HasRevocation(id) {
			return s
		}
		next := *s
		next.lifted = append(slices.Clip(s.lifted), id)
		l := s.ledger.Unrevoke(id)
		if s.loaded {
			l = rotation.Advance(l, s.content, now, src.spec.window)
		}
		return src.with(&next, l, s.content.Decls)
	})
	return err
}

func (src *source[V, S]) retire() {
	src.apply(func(s *state[V, S], _ time.Time) *state[V, S] {
		if !s.ledger.Overlaps() {
			return s
		}
		return src.with(s, s.ledger.Retire(), nil)
	})
}

// apply publishes the state that f returns. After Close, apply does nothing.
func (src *source[V, S]) apply(f func(s *state[V, S], now time.Time) *state[V, S]) {
	src.value.Apply(func(prev *state[V, S], now time.Time) *state[V, S] {
		if src.closed.Load() {
			return prev
		}
		return f(src.orInitial(prev), now)
	})
}

// close publishes a state that accepts nothing. The Agent calls close after it has set
// closed.
func (src *source[V, S]) close() {
	src.value.Apply(func(prev *state[V, S], _ time.Time) *state[V, S] {
		closed := emptyState[V, S]()
		closed.beforeClose = src.orInitial(prev)
		closed.rotations = closed.beforeClose.rotations
		return closed
	})
}

// verified reports whether a credential of the source verified p.
func (src *source[V, S]) verified(p *verify.Principal) bool {
	return p.Method() == src.spec.method && (p.Source() == src.spec.name || slices.Contains(src.formerNames, p.Source()))
}

// revoked reports whether the credential id is revoked.
func (src *source[V, S]) revoked(id rotation.ID) bool {
	return id != rotation.ID{} && src.orInitial(src.value.Load()).ledger.Revoked(id)
}

// awaitRevocation returns true once the credential of p is revoked. It returns false if
// ctx ends or the Agent is closed.
func (src *source[V, S]) awaitRevocation(ctx context.Context, p *verify.Principal) bool {
	for {
		changed := src.value.Updated()
		switch {
		case src.closed.Load():
			return false
		case src.revoked(p.Credential()), slices.ContainsFunc(p.RevocableBy(), src.revoked):
			return true
		}
		select {
		case <-ctx.Done():
			return false
		case <-changed:
		}
	}
}
