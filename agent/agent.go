package agent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tokenagent/tokenagent/internal/broadcast"
	"github.com/tokenagent/tokenagent/internal/jwt"
	"github.com/tokenagent/tokenagent/internal/jwt/jwks"
	"github.com/tokenagent/tokenagent/pkg/reload"
	"github.com/tokenagent/tokenagent/pkg/verify"
)

// An Agent keeps the accepted tokens and verification keys in step with their
// sources and verifies requests with them. Make one with [Start]; the zero Agent
// is not usable. It is safe for concurrent use and must not be copied.
type Agent struct {
	cfg     *resolved
	tokens  *tokenSource       // nil without a token source
	keys    *keySource         // nil without a key source
	jwt     *jwt.Verifier      // by keys
	remote  *jwks.RemoteSource // of keys; nil for none
	sources []credentialSource // those of the two that there are

	watcher *reload.Watcher   // nil where no source is watched
	store   *stateStore       // nil without a state file
	changed broadcast.Channel // of any source
	closed  atomic.Bool

	stop    context.CancelFunc
	running sync.WaitGroup
	closing sync.Once

	closeErr error // written by closing alone
}

var (
	_ verify.Verifier            = (*Agent)(nil)
	_ verify.PreviousUseRecorder = (*Agent)(nil)
	_ verify.RevocationWaiter    = (*Agent)(nil)
)

// Start reads the sources that cfg names and returns an Agent that is ready, or
// an error that names every fault of cfg, or the fault of a source. With
// cfg.WaitForSource a source's fault is no error: the Agent is returned, and is
// ready once the sources are.
//
// ctx bounds the start alone. The Agent runs until Close.
func Start(ctx context.Context, cfg Config) (*Agent, error) {
	r, err := cfg.resolve()
	if err != nil {
		return nil, err
	}
	a := &Agent{cfg: r}
	if err := a.assemble(); err != nil {
		return nil, fmt.Errorf("agent: %w", err)
	}
	switch {
	case r.From != nil:
		a.inherit(r.From)
		r.From = nil // it need not be kept for as long as the Agent
	case r.StateFile != "":
		a.store = newStateStore(r, a.sources, time.Now())
	}
	if err = a.open(ctx); err != nil {
		return nil, fmt.Errorf("agent: %w", err)
	}
	a.each(credentialSource.standIn)
	_ = a.save() // is in the log and the status
	r.warnOfSDKs()
	run, stop := context.WithCancel(context.WithoutCancel(ctx))
	a.stop = stop
	for _, p := range a.sources {
		a.running.Go(func() { p.run(run) })
		a.running.Go(func() { p.logChanges(run, a.changed.Send) })
	}
	if a.store != nil {
		a.running.Go(func() { a.remember(run) })
	}
	return a, nil
}

// assemble makes the sources that cfg asks for.
func (a *Agent) assemble() (err error) {
	r := a.cfg
	if r.tokens != nil {
		a.tokens = newTokens(r.tokens, r.MinTokenBytes, &a.closed, r.Logger)
		a.sources = append(a.sources, a.tokens)
	}
	if r.keys != nil {
		a.remote, _ = r.keys.source.(*jwks.RemoteSource)
		a.keys = newKeys(r.keys, r.KeyAlgorithm, a.remote, &a.closed, r.Logger)
		var onUnknownKey func(kid string)
		if a.remote != nil {
			onUnknownKey = a.remote.UnknownKey
		}
		if a.jwt, err = jwt.NewVerifier(a.usableKeys, r.JWT.config(onUnknownKey)); err != nil {
			return err
		}
		a.keys.longest = a.jwt.LongestLifetime
		a.sources = append(a.sources, a.keys)
	}
	for _, p := range a.sources {
		switch {
		case !p.source().watched || a.watcher != nil || r.PollOnly:
		case r.Watcher != nil:
			a.watcher = r.Watcher
		default:
			a.watcher = new(reload.Watcher)
		}
	}
	return nil
}

// usableKeys returns the keys that may vouch now: none where those of a server
// have not been confirmed for too long.
func (a *Agent) usableKeys() *jwt.KeySet {
	if a.remote != nil && !a.remote.Usable() {
		return nil
	}
	return a.keys.set()
}

// open reads the sources for the first time. A read that hangs, as on a dead
// network file system, is left behind when ctx ends.
func (a *Agent) open(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	for _, p := range a.sources {
		done := make(chan error, 1)
		go func() { done <- p.open(a.cfg, a.watcher) }()
		select {
		case err := <-done:
			if err != nil {
				return err
			}
		case <-ctx.Done():
			return fmt.Errorf("reading %s: %w", p.source().location, context.Cause(ctx))
		}
	}
	return nil
}

// ErrClosed says that the Agent was closed.
var ErrClosed = errors.New("agent: closed")

// Token returns the current token, for those who send it. The error wraps
// [verify.ErrUnavailable] where there is none: nothing loaded yet, the current
// token revoked, no token source, or the Agent closed.
func (a *Agent) Token() (string, error) {
	if a.tokens == nil {
		return "", fmt.Errorf("agent: it has keys and no token: %w", verify.ErrUnavailable)
	}
	if s := a.tokens.value.Load(); s != nil && s.set != nil {
		if c, ok := s.ledger.Current(); ok {
			return c.Value.Reveal(), nil
		}
		return "", fmt.Errorf("agent: the current token is revoked: %w", verify.ErrUnavailable)
	}
	return "", fmt.Errorf("agent: %w", verify.ErrUnavailable)
}

// Ready reports whether good content has come of every source and the Agent is
// not closed. It stays true while a source is broken: what was accepted still is.
func (a *Agent) Ready() bool {
	for _, p := range a.sources {
		if !p.isReady() {
			return false
		}
	}
	return !a.closed.Load()
}

// Updated returns a channel that is closed at the next change of what is
// accepted. To miss none, take the channel first and look afterwards.
func (a *Agent) Updated() <-chan struct{} {
	if len(a.sources) == 1 {
		return a.sources[0].updated()
	}
	return a.changed.Next()
}

// Reload reads the sources now, without waiting for an event or the next poll,
// and reports whether what is accepted changed. A source's fault is returned and
// changes nothing.
func (a *Agent) Reload() (changed bool, err error) {
	if a.closed.Load() {
		return false, ErrClosed
	}
	if a.remote != nil {
		a.remote.Refresh()
	}
	var faults []error
	for _, p := range a.sources {
		news, err := p.reload()
		changed = changed || news
		faults = append(faults, err)
	}
	if a.remote != nil {
		faults = append(faults, a.remote.FileFault())
	}
	return changed, errors.Join(faults...)
}

// Revoke refuses the token with the SHA-256 id from now on, in whatever slot it
// is: every verification that begins after Revoke returned. Of a token that
// nobody knows it is remembered all the same. See [verify.Digest]; and for what
// is signed [verify.SigningInputDigest], [verify.RevokedTokenID] and
// [verify.RevokedKeyID], or the thumbprint of a key.
//
// It holds until [Agent.Unrevoke], or until the source says unrevoked, whatever
// else the source declares. With a state file it outlives the process, and an error
// says that it could not be written there.
func (a *Agent) Revoke(id verify.ID) error {
	err := a.change(func(p credentialSource) { p.revoke(id) })
	if !errors.Is(err, ErrClosed) {
		a.cfg.Logger.Warn("revoked", "fingerprint", verify.Fingerprint(id))
	}
	return err
}

// Unrevoke lifts the revocation of id, by whom it ever was made: what the source
// declares of it is accepted by every verification that begins after Unrevoke
// returned. A source that still revokes id is an error, and then nothing changes:
// take it out there first, as tokenagent rotate unrevoke does. The other errors are
// as those of [Agent.Revoke]. Unrevoking a token that is not revoked does nothing.
func (a *Agent) Unrevoke(id verify.ID) error {
	var refused error
	err := a.change(func(p credentialSource) { refused = errors.Join(refused, p.unrevoke(id)) })
	if refused != nil {
		return refused
	}
	if !errors.Is(err, ErrClosed) {
		a.cfg.Logger.Warn("no longer revoked", "fingerprint", verify.Fingerprint(id))
	}
	return err
}

// Retire ends every overlap now: superseded tokens and keys are refused by every
// verification that begins after Retire returned. One that the source declares
// previous stays refused until the source declares it in another slot. The error
// is as that of Revoke.
func (a *Agent) Retire() error {
	err := a.change(credentialSource.retire)
	if !errors.Is(err, ErrClosed) {
		a.cfg.Logger.Info("what was superseded is retired")
	}
	return err
}

// change has every source publish a change, and then writes it down.
func (a *Agent) change(f func(credentialSource)) error {
	a.each(f)
	if a.closed.Load() {
		return ErrClosed
	}
	return a.save()
}

func (a *Agent) each(f func(credentialSource)) {
	for _, p := range a.sources {
		f(p)
	}
}

// Close stops watching and waits until that has ended. Afterwards nothing is
// accepted: Verify answers [verify.ErrUnavailable]. It is idempotent. The error
// says that the state file could not be written for the last time.
func (a *Agent) Close() error {
	a.closing.Do(func() {
		// First the answer, then the waiting: a read that hangs must not keep
		// tokens accepted.
		a.closed.Store(true)
		a.each(credentialSource.shut)
		a.changed.Send()
		a.closeErr = a.save()
		a.stop()
		a.running.Wait()
		if a.store != nil {
			a.store.release(a)
		}
	})
	return a.closeErr
}

// String returns a text that holds no token.
func (a *Agent) String() string { return "agent(" + a.sources[0].source().name + ")" }

// Format writes String for every verb and flag.
func (a *Agent) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, a.String()) }
