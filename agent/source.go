package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tokenagent/tokenagent/internal/jwt"
	"github.com/tokenagent/tokenagent/internal/jwt/jwks"
	"github.com/tokenagent/tokenagent/internal/kubemount"
	"github.com/tokenagent/tokenagent/internal/rotation"
	"github.com/tokenagent/tokenagent/internal/token"
	"github.com/tokenagent/tokenagent/internal/tokenreview"
	"github.com/tokenagent/tokenagent/pkg/reload"
	"github.com/tokenagent/tokenagent/pkg/verify"
)

// A source is one credential source of an Agent, with its state. V is the type of its
// credentials, and S the set of credentials that verifies requests.
type source[V credential, S any] struct {
	spec *sourceSpec
	log  *slog.Logger
	// initial is the state before the first read: that of the state file or of
	// Config.From, and else an empty one.
	initial *state[V, S]
	value   *reload.Value[state[V, S]] // holds a state from open on

	logging sync.Mutex
	logged  *state[V, S] // the last state that the log shows; guarded by logging
	changed func()       // wakes who waits for a change of any source of the Agent

	users     *previousUsers
	clients   *clientUses // of tokens
	counts    *counts
	durations prometheus.Histogram // of reads
	// formerNames are the other names of the source in the Agents whose Snapshots this
	// Agent started from.
	formerNames []string

	// The functions below depend on the type of the credentials.

	// parse returns what the source declares. The notes are warnings about valid content.
	parse func(reload.Content) (declared rotation.Content[V], notes []string, err error)
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
	// reviewer asks about the tokens that the keys have signed; nil if nobody is asked.
	reviewer *tokenreview.Reviewer
	// sideError returns the error of the CA file, the token file or the metadata document of
	// a key server.
	sideError func() error
}

// The two kinds of sources.
type (
	tokenSource = source[token.Token, token.Set]
	keySource   = source[jwt.Key, jwt.KeySet]
)

// A credentialSource is a source of any type: the methods that an Agent calls on all of
// its sources.
type credentialSource interface {
	open(r *resolved, w *reload.Watcher, changed func()) error
	run(ctx context.Context)
	close()

	info() *sourceSpec
	isReady() bool
	updated() <-chan struct{}
	reload() (changed bool, err error)
	revoke(id rotation.ID)
	hasRevocation(id rotation.ID) bool
	checkUnrevoke(id rotation.ID) error
	unrevoke(id rotation.ID) error
	retire()
	awaitRevocation(ctx context.Context, p *verify.Principal) bool
	recordPreviousUse(p *verify.Principal, remote string)

	restore(w storedSource, now time.Time)
	restoreRefusals(m rotation.Snapshot)
	adopt(m rotation.Snapshot)
	stored(now time.Time) storedSource
	status(now time.Time) SourceStatus
	collect(e emitter, now time.Time)
}

// newSource returns a source without the functions that depend on the type of the
// credentials, except for defaults.
func newSource[V credential, S any](spec *sourceSpec, log *slog.Logger) *source[V, S] {
	return &source[V, S]{
		spec: spec, log: log.With("source", spec.name), initial: &state[V, S]{ledger: new(rotation.Ledger[V])},
		users: newPreviousUsers(), clients: new(clientUses), counts: new(counts), durations: newDurations(spec.name),
		expires:         func(V) time.Time { return time.Time{} },
		longestLifetime: func() time.Duration { return 0 },
		usable:          func() bool { return true },
		sideError:       func() error { return nil },
	}
}

// allows reports whether the tokens of client are accepted.
func (s *sourceSpec) allows(client string) bool {
	return len(s.allowClients) == 0 || slices.Contains(s.allowClients, client)
}

// newTokenSource returns a source of shared tokens.
func newTokenSource(spec *sourceSpec, minBytes int, log *slog.Logger) *tokenSource {
	src := newSource[token.Token, token.Set](spec, log)
	src.parse = func(c reload.Content) (declared token.Tokens, notes []string, err error) {
		o := token.Options{MinTokenBytes: minBytes, Name: spec.nameIn(c)}
		if c.Keys == nil {
			declared, err = token.Parse(c.Data, o)
			return declared, nil, err
		}
		declared, err = token.ParseDir(c.Keys, o)
		return declared, nil, addKeyNames(err, c, token.FileCurrent)
	}
	src.build = func(l *rotation.Ledger[token.Token], _ *token.Set, _ []rotation.Decl[token.Token]) *token.Set {
		clients := make(map[string]bool, len(l.Entries))
		for i := range l.Entries {
			clients[l.Entries[i].Client] = true
		}
		src.clients.keep(func(client string) bool { return clients[client] })
		return token.NewSet(l, token.SetOptions{Source: spec.name, Allows: spec.allows, Count: src.clients.counterOf})
	}
	src.encode = func(token.Token) json.RawMessage { return nil }
	src.decode = token.Remembered
	src.expires = token.Token.Expires
	return src
}

// newKeySource returns a source of the verification keys of an issuer.
func newKeySource(spec *sourceSpec, log *slog.Logger) *keySource {
	src := newSource[jwt.Key, jwt.KeySet](spec, log)
	src.parse = func(c reload.Content) (declared rotation.Content[jwt.Key], notes []string, err error) {
		o := jwks.ParseOptions{Name: spec.nameIn(c), Algorithm: spec.issuer.KeyAlgorithm, TrustDomain: spec.issuer.JWT.TrustDomain}
		if spec.remote != nil {
			o = spec.remote.ParseOptions()
		}
		var k jwks.Keys
		if c.Keys == nil {
			k, err = jwks.Parse(c.Data, o)
		} else {
			k, err = jwks.ParseKeys(c.Keys, o)
			err = addKeyNames(err, c, jwks.KeyCurrent, jwks.KeyJWKS)
		}
		for _, skipped := range k.Skipped {
			notes = append(notes, "left out: "+skipped.Error())
		}
		return k.Content, notes, err
	}
	src.build = func(l *rotation.Ledger[jwt.Key], before *jwt.KeySet, declared []rotation.Decl[jwt.Key]) *jwt.KeySet {
		return jwt.NewKeySet(l, spec.name, before, declared)
	}
	src.encode, src.decode = jwt.EncodePublic, jwt.DecodePublic
	if spec.remote != nil {
		src.usable, src.sideError = spec.remote.Usable, spec.remote.SideError
	}
	return src
}

// maxNotes is the largest number of notes, fingerprints or key names in a message.
const maxNotes = 10

// addKeyNames adds the names of the keys in the directory c to err, if c has none of
// the wanted keys: the Secret may hold the token under another key.
func addKeyNames(err error, c reload.Content, wanted ...string) error {
	if err == nil || slices.ContainsFunc(wanted, func(key string) bool { return c.Keys[key] != nil }) {
		return err
	}
	names, failed := kubemount.Keys(c.Path)
	switch more := len(names) - maxNotes; {
	case failed != nil:
		return err
	case len(names) == 0:
		return fmt.Errorf("%w; there are no keys at all", err)
	case more > 0:
		return fmt.Errorf("%w; the keys there are %s and %d more", err, strings.Join(names[:maxNotes], ", "), more)
	default:
		return fmt.Errorf("%w; the keys there are %s", err, strings.Join(names, ", "))
	}
}

// remotePoll is the interval at which a key server's source checks whether a request is
// due.
const remotePoll = 2 * time.Second

// open reads the source for the first time. If the source cannot be read and the Agent
// waits for it, the initial state is in force until then. changed is called after each
// change from then on.
func (src *source[V, S]) open(r *resolved, w *reload.Watcher, changed func()) (err error) {
	poll, debounce := r.Poll, r.Debounce
	if src.spec.remote != nil {
		// The source decides whether a poll makes a request. A response is complete, so
		// it needs no debounce.
		poll, debounce = remotePoll, -1
	}
	src.value, err = reload.Open(src.spec.source, src.step, reload.Options{
		Poll: poll, Debounce: debounce, Watcher: w, PollOnly: r.PollOnly,
		Observe: func(d time.Duration) {
			src.durations.Observe(d.Seconds())
			src.clients.sample(time.Now())
			if src.value != nil && src.logLatest() {
				src.warnAboutReaders()
			}
		},
		Wait: r.WaitForSource || src.spec.issuer.WaitForSource, Logger: r.Logger, Name: src.spec.name,
	})
	if err != nil {
		return err
	}
	src.value.Apply(func(s *state[V, S], _ time.Time) *state[V, S] {
		if s != nil {
			return s
		}
		return src.with(src.initial, src.initial.ledger, nil)
	})
	src.logged, src.changed = new(state[V, S]), changed
	src.logLatest()
	src.warnAboutReaders()
	return nil
}

func (src *source[V, S]) info() *sourceSpec        { return src.spec }
func (src *source[V, S]) run(ctx context.Context)  { _ = src.value.Run(ctx) }
func (src *source[V, S]) updated() <-chan struct{} { return src.value.Updated() }

func (src *source[V, S]) reload() (changed bool, err error) {
	if src.spec.remote != nil {
		src.spec.remote.Refresh()
	}
	changed, err = src.value.Reload()
	return changed, errors.Join(err, src.sideError())
}

// isReady reports whether the source has been loaded, or has credentials of a Snapshot
// that are usable.
func (src *source[V, S]) isReady() bool {
	return src.set() != nil && (src.usable() || src.value.Load().hasRead)
}

// set returns the set that verifies requests now, and nil if there is none.
func (src *source[V, S]) set() *S { return src.value.Load().set }

// errPartial rejects content in which a key could not be read. The source has already
// returned the error of that key.
var errPartial = errors.New("agent: not all keys could be read")

// step is the [reload.Step] of the source: it returns the state that follows prev when
// the source has the content c. Revocations in invalid content take effect too, since
// they only remove access. The Value serializes steps and calls of apply.
func (src *source[V, S]) step(prev *state[V, S], c reload.Content, now time.Time) (*state[V, S], error) {
	if prev == nil {
		prev = src.initial
	}
	if prev.closed { // this read began before Close
		return nil, ErrClosed
	}
	declared, notes, err := src.parse(c)
	if c.Partial && err == nil {
		err = errPartial
	}
	next := *prev
	if err == nil {
		next.loaded, next.hasRead, next.content, next.rejected, next.notes = true, true, declared, nil, notes
		return src.with(&next, rotation.Advance(prev.ledger, declared, now, src.spec.window), declared.Decls), nil
	}
	next.rejected = declared.Revoked
	fresh := slices.DeleteFunc(slices.Clone(declared.Revoked), prev.ledger.HasRevocation)
	switch {
	case len(fresh) > 0:
		return src.with(&next, prev.ledger.Reject(fresh), nil), err
	case slices.Equal(declared.Revoked, prev.rejected):
		return nil, err
	default:
		return src.with(&next, next.ledger, nil), err // with the rules of this Agent, also if prev is of another one
	}
}

// apply publishes the state that f returns. After Close, apply does nothing.
func (src *source[V, S]) apply(f func(s *state[V, S], now time.Time) *state[V, S]) {
	src.value.Apply(func(s *state[V, S], now time.Time) *state[V, S] {
		if s.closed {
			return s
		}
		return f(s, now)
	})
	src.logLatest()
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

// checkUnrevoke returns an error if the source itself revokes id.
func (src *source[V, S]) checkUnrevoke(id rotation.ID) error {
	s := src.value.Load()
	if !s.closed && (slices.Contains(s.content.Revoked, id) || slices.Contains(s.rejected, id)) {
		return fmt.Errorf("agent: %s revokes it; remove that revocation first (tokenagent rotate unrevoke)", src.spec.location)
	}
	return nil
}

// unrevoke lifts the revocation of id and accepts the credential if the source declares
// it. If the source itself revokes id, unrevoke returns an error.
func (src *source[V, S]) unrevoke(id rotation.ID) (err error) {
	src.apply(func(s *state[V, S], now time.Time) *state[V, S] {
		if err = src.checkUnrevoke(id); err != nil { // again: it may have changed
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

// close publishes a state that accepts nothing.
func (src *source[V, S]) close() {
	src.apply(func(s *state[V, S], _ time.Time) *state[V, S] {
		closed := *s
		closed.closed, closed.set = true, nil
		return &closed
	})
}

// verified reports whether a credential of the source verified p.
func (src *source[V, S]) verified(p *verify.Principal) bool {
	return p.Method() == src.spec.method && (p.Source() == src.spec.name || slices.Contains(src.formerNames, p.Source()))
}

// awaitRevocation returns true once the credential of p is revoked. It returns false if
// ctx ends or the Agent is closed, and at once if the source did not verify p.
func (src *source[V, S]) awaitRevocation(ctx context.Context, p *verify.Principal) bool {
	if !src.verified(p) {
		return false
	}
	for {
		changed := src.value.Updated()
		s := src.value.Load()
		switch {
		case s.closed:
			return false
		case s.revoked(p.Credential()), slices.ContainsFunc(p.RevocableBy(), s.revoked):
			return true
		}
		select {
		case <-ctx.Done():
			return false
		case <-changed:
		}
	}
}
