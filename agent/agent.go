// Package agent verifies requests with tokens and keys that it keeps up to date
// with their sources.
//
// [Start] reads the sources that a [Config] names: a token from a file, a mounted
// Kubernetes Secret, an env file or an environment variable, and the keys of each issuer
// of signed tokens from a file or a server. Start returns an [Agent] that is ready, or an error.
// The caller must call [Agent.Close].
//
// The Agent watches its sources. It accepts a new token as soon as it reads it, and
// the token before it until an overlap ends ([Config.Overlap]), so that senders can
// switch later. An error of a source is logged, counted and shown in [Agent.Status];
// the Agent keeps accepting what it accepted before.
//
// An Agent is a [verify.Verifier], which httpauth and grpcauth take, a
// [verify.TokenSource] for senders, and a [prometheus.Collector], which the caller
// registers. All methods are safe for concurrent use. Verify never waits for a source:
// it loads one atomic pointer. The package does not link gRPC.
package agent

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tokenagent/tokenagent/internal/bounded"
	"github.com/tokenagent/tokenagent/internal/broadcast"
	"github.com/tokenagent/tokenagent/internal/jwt"
	"github.com/tokenagent/tokenagent/pkg/reload"
	"github.com/tokenagent/tokenagent/pkg/verify"
)

// An Agent verifies requests with the tokens and keys of its sources, and follows
// the changes of these sources. Create an Agent with [Start]; the zero Agent is not
// usable. All methods are safe for concurrent use. An Agent must not be copied.
type Agent struct {
	cfg     *resolved
	tokens  *tokenSource       // nil if there is no token source
	keys    []*keySource       // one for each issuer
	issuers []*jwt.Issuer      // each uses the keys with its index
	jwt     *jwt.Verifier      // of issuers; nil if there are none
	sources []credentialSource // tokens, if not nil, and keys

	byHand  handRevocations
	store   *stateStore       // nil if there is no state file
	changed broadcast.Channel // signals a change of any source
	closed  atomic.Bool

	stop      context.CancelFunc
	running   sync.WaitGroup
	closeOnce sync.Once
	closeErr  error // set in closeOnce
}

var (
	_ verify.Verifier            = (*Agent)(nil)
	_ verify.PreviousUseRecorder = (*Agent)(nil)
	_ verify.RevocationWaiter    = (*Agent)(nil)
)

// Start reads the sources that cfg names and returns an Agent that is ready. If cfg
// is invalid, the error lists everything that is wrong with it. An error of a source
// is returned too, unless cfg.WaitForSource is set: then Start returns an Agent that
// becomes ready when its sources do.
//
// ctx limits only Start. The Agent runs until the caller calls Close.
func Start(ctx context.Context, cfg Config) (*Agent, error) {
	r, err := cfg.resolve()
	if err != nil {
		return nil, err
	}
	a := &Agent{cfg: r}
	if err := a.createSources(); err != nil {
		return nil, fmt.Errorf("agent: %w", err)
	}
	switch {
	case r.From != nil:
		a.startFrom(r.From)
		r.From = nil // let the garbage collector free the Snapshot
	case r.StateFile != "":
		a.store = newStateStore(a, time.Now())
	}
	if err = a.open(ctx); err != nil {
		return nil, fmt.Errorf("agent: %w", err)
	}
	_ = a.save() // save logs the error; Status shows it
	r.warnAboutSDKs()
	run, stop := context.WithCancel(context.WithoutCancel(ctx))
	a.stop = stop
	for _, src := range a.sources {
		a.running.Go(func() { src.run(run) })
	}
	if a.store != nil {
		a.running.Go(func() { a.saveChanges(run) })
	}
	return a, nil
}

// createSources creates the sources that the configuration names, and the verifier of
// signed tokens.
func (a *Agent) createSources() error {
	r := a.cfg
	if r.tokens != nil {
		a.tokens = newTokenSource(r.tokens, r.MinTokenBytes, r.Logger)
		a.sources = append(a.sources, a.tokens)
	}
	for _, spec := range r.keys {
		src := newKeySource(spec, r.Logger)
		iss, err := jwt.NewIssuer(usableKeys(src), spec.rules())
		if err != nil {
			return err
		}
		if spec.issuer.TokenReview {
			if src.reviewer, err = spec.newReviewer(r.Logger); err != nil {
				return err
			}
		}
		src.longestLifetime = iss.LongestLifetime
		a.keys, a.issuers, a.sources = append(a.keys, src), append(a.issuers, iss), append(a.sources, src)
	}
	if len(a.issuers) > 0 {
		a.jwt = jwt.NewVerifier(r.JWTCache, a.issuers...)
	}
	return nil
}

// usableKeys returns a function that returns the keys of src that verify signed tokens
// now. It returns nil if the server has not confirmed the keys for longer than
// JWKS.MaxStale.
func usableKeys(src *keySource) func() *jwt.KeySet {
	return func() *jwt.KeySet {
		if !src.usable() {
			return nil
		}
		return src.set()
	}
}

// open reads the sources for the first time. If ctx ends first, open returns without
// waiting for the read: a read of a dead network file system may never return.
func (a *Agent) open(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	watcher := cmp.Or(a.cfg.Watcher, new(reload.Watcher))
	return a.readAll(func(src credentialSource) error {
		open := func() (struct{}, error) { return struct{}{}, src.open(a.cfg, watcher, a.changed.Send) }
		_, err := bounded.Do(ctx, src.info().location, open)
		return err
	})
}

// maxReads is the largest number of sources that readAll reads at once.
const maxReads = 64

// readAll calls read for every source and joins the errors. It reads several sources at
// once, so that a key server that does not answer delays no other source.
func (a *Agent) readAll(read func(credentialSource) error) error {
	errs := make([]error, len(a.sources))
	places := make(chan struct{}, maxReads)
	var running sync.WaitGroup
	for i, src := range a.sources {
		places <- struct{}{}
		running.Go(func() {
			defer func() { <-places }()
			errs[i] = read(src)
		})
	}
	running.Wait()
	return errors.Join(errs...)
}

// Verify accepts a shared token if the source declares it, or if it was superseded and
// its deadline has not passed. It accepts a signed token if an accepted key of its issuer
// signed it and its claims satisfy the JWT of that [Issuer]. A token that the token source revoked, or that was
// superseded and has ended, is refused even if it is also a valid signed token.
//
// Verify reads memory only, except for tokens of an Issuer with TokenReview. For a shared token, and for a signed token in the cache, it
// allocates nothing. Each call adds one to tokenagent_verifications_total. An error
// wraps one of the errors of package verify; before the source is loaded and after
// Close, it wraps [verify.ErrUnavailable].
func (a *Agent) Verify(ctx context.Context, token string) (*verify.Principal, error) {
	if a.tokens == nil {
		p, src, err := a.verifyJWT(ctx, token)
		if err != nil {
			a.keys[0].counts.refused(err)
			return nil, err
		}
		src.counts.accepted(p)
		return p, nil
	}
	p, uses, err := a.tokens.set().Lookup(token)
	switch {
	case err == nil && uses != nil:
		uses.Add()
		return p, nil
	case err == nil:
		a.tokens.counts.accepted(p)
		return p, nil
	case a.jwt == nil, verify.Class(err) >= verify.Expired:
		a.tokens.counts.refused(err)
		return nil, err
	}
	if verify.Class(err) == verify.Unavailable && a.tokens.value.Load().revoked(verify.Digest(token)) {
		a.tokens.counts.refused(verify.ErrRevokedToken) // by hand, before the source was loaded
		return nil, verify.ErrRevokedToken
	}
	return a.verifySigned(ctx, token, err)
}

// verifySigned verifies token as a signed token, after the token source has refused it
// with err. If the keys refuse token too, verifySigned returns the refusal of the higher
// class.
func (a *Agent) verifySigned(ctx context.Context, token string, err error) (*verify.Principal, error) {
	p, src, jwtErr := a.verifyJWT(ctx, token)
	if jwtErr == nil {
		src.counts.accepted(p)
		return p, nil
	}
	if verify.Class(jwtErr) > verify.Class(err) {
		err = jwtErr
	}
	if looksSigned(token) {
		a.keys[0].counts.refused(err)
	} else {
		a.tokens.counts.refused(err)
	}
	return nil, err
}

// looksSigned reports whether token has the three parts of a JWS (RFC 7515 section 7.1).
func looksSigned(token string) bool { return strings.Count(token, ".") == 2 }

// ErrClosed is the error of calls that need an open Agent after [Agent.Close].
var ErrClosed = errors.New("agent: closed")

// Token returns the current token, which a sender attaches to its requests: that of the
// unnamed client or, if there is none, that of the only client. Token reads memory only. If there is no current token, the error wraps
// [verify.ErrUnavailable]: the source is not loaded yet, the token is revoked, the
// Agent has no token source, or the Agent is closed.
func (a *Agent) Token() (string, error) {
	if a.tokens == nil {
		return "", fmt.Errorf("agent: no token source is configured: %w", verify.ErrUnavailable)
	}
	s := a.tokens.value.Load()
	if s.set == nil {
		return "", fmt.Errorf("agent: %w", verify.ErrUnavailable)
	}
	// Currents begins with the unnamed client, and a client without a current token is not
	// in it.
	switch c := s.ledger.Currents(); {
	case s.severalSenders:
		return "", fmt.Errorf("agent: the source has several clients, and all of them have names: %w", verify.ErrUnavailable)
	case len(c) == 0 || c[0].Client != s.sender:
		return "", fmt.Errorf("agent: the current token is revoked: %w", verify.ErrUnavailable)
	default:
		return c[0].Value.Reveal(), nil
	}
}

// Ready reports whether the sources have been loaded and the Agent is not closed. Issuers
// with WaitForSource may be missing, but at least one source must be loaded. A later error
// of a source does not change Ready, since the Agent keeps accepting what it accepted
// before.
func (a *Agent) Ready() bool {
	loaded := false
	for _, src := range a.sources {
		switch {
		case src.isReady():
			loaded = true
		case !src.info().issuer.WaitForSource:
			return false
		}
	}
	return loaded
}

// Updated returns a channel that is closed when the accepted tokens or keys change
// next. A caller that must not miss a change calls Updated before it reads the state,
// for example with [Agent.Token]. Close closes the channel as well.
func (a *Agent) Updated() <-chan struct{} {
	if len(a.sources) == 1 { // the channel of several sources can close late, after the caller has read the change
		return a.sources[0].updated()
	}
	return a.changed.Next()
}

// Reload reads the sources now, without waiting for an event or the next poll. It
// reports whether the accepted tokens or keys changed. If a source cannot be read or
// is invalid, Reload returns the error and the Agent keeps accepting what it accepted
// before; only revocations in an invalid source take effect. After Close the error is
// [ErrClosed].
func (a *Agent) Reload() (changed bool, err error) {
	if a.closed.Load() {
		return false, ErrClosed
	}
	var anyChanged atomic.Bool
	err = a.readAll(func(src credentialSource) error {
		changed, err := src.reload()
		if changed {
			anyChanged.Store(true)
		}
		return err
	})
	return anyChanged.Load(), err
}

// Revoke makes the Agent refuse the credential id: every verification that begins
// after Revoke returns. The slot of the credential does not matter, and the Agent
// need not know the credential yet. For a shared token, id is its SHA-256
// ([verify.Digest]). For signed tokens, id comes from [verify.SigningInputDigest],
// [verify.RevokedTokenID] or [verify.RevokedKeyID], or is the thumbprint of a key
// (RFC 7638); it is refused at every issuer, also at those that a later Agent has (Config.From,
// the state file).
//
// The revocation lasts until [Agent.Unrevoke], or until the source lists id as
// unrevoked; a source that declares the credential again does not lift it. With a
// state file the revocation survives a restart. An error means that the state file
// could not be written, and the revocation holds in this process; after Close the
// error is [ErrClosed].
func (a *Agent) Revoke(id verify.ID) error {
	a.byHand.mu.Lock() // until the ledgers have it: revokedByHand forgets what they do not have
	a.byHand.add(id)
	a.each(func(src credentialSource) { src.revoke(id) })
	a.byHand.mu.Unlock()
	err := a.saveChange()
	if !errors.Is(err, ErrClosed) {
		a.cfg.Logger.Warn("revoked", "fingerprint", verify.Fingerprint(id))
	}
	return err
}

// Unrevoke lifts the revocation of id, whether a call of Revoke or the source made
// it. If the source declares the credential, every verification that begins after
// Unrevoke returns accepts it. If the source still revokes id, Unrevoke returns an
// error and does not lift the revocation: remove the revocation from the source first,
// as tokenagent rotate unrevoke does. The other errors are those of [Agent.Revoke].
// Unrevoking a credential that is not revoked does nothing.
func (a *Agent) Unrevoke(id verify.ID) error {
	var refused error
	a.each(func(src credentialSource) { refused = errors.Join(refused, src.checkUnrevoke(id)) })
	if refused != nil {
		return refused
	}
	a.each(func(src credentialSource) { refused = errors.Join(refused, src.unrevoke(id)) })
	a.revokedByHand() // forgets id
	err := a.saveChange()
	if refused != nil {
		return refused
	}
	if !errors.Is(err, ErrClosed) {
		a.cfg.Logger.Warn("no longer revoked", "fingerprint", verify.Fingerprint(id))
	}
	return err
}

// Retire ends every overlap now: every verification that begins after Retire returns
// refuses superseded tokens and keys. If the source declares a retired credential
// as previous, the Agent refuses it until the source declares it in another slot. The
// errors are those of [Agent.Revoke].
func (a *Agent) Retire() error {
	a.each(credentialSource.retire)
	err := a.saveChange()
	if !errors.Is(err, ErrClosed) {
		a.cfg.Logger.Info("superseded tokens and keys retired")
	}
	return err
}

// AwaitRevocation waits until the credential of p is revoked and returns true. It
// returns false if ctx ends or the Agent is closed, and at once if p does not come from
// a source of this Agent. The end of an overlap is not a revocation. An Agent that
// started from a Snapshot also knows the Principals of the earlier Agents, even if
// their source had another name. AwaitRevocation implements [verify.RevocationWaiter].
func (a *Agent) AwaitRevocation(ctx context.Context, p *verify.Principal) bool {
	return slices.ContainsFunc(a.sources, func(src credentialSource) bool { return src.awaitRevocation(ctx, p) })
}

// saveChange saves the state after a change of the sources, which changes nothing in a closed
// Agent.
func (a *Agent) saveChange() error {
	if a.closed.Load() {
		return ErrClosed
	}
	return a.save()
}

func (a *Agent) each(f func(credentialSource)) {
	for _, src := range a.sources {
		f(src)
	}
}

// Close makes the Agent refuse every token, stops watching and waits until the Agent's
// goroutines have ended, but only a second for a read that hangs. From then on Verify
// returns [verify.ErrUnavailable]. The error means that the state file could not be
// written. Further calls of Close return the same error.
func (a *Agent) Close() error {
	a.closeOnce.Do(func() {
		// Refuse tokens before waiting for the goroutines: a read that hangs must
		// not keep tokens accepted.
		a.closed.Store(true)
		a.each(credentialSource.close)
		a.changed.Send()
		a.closeErr = a.save()
		a.stop()
		for _, src := range a.keys {
			if src.reviewer != nil {
				src.reviewer.Close()
			}
		}
		bounded.Wait(a.running.Wait)
		if a.store != nil {
			a.store.release(a)
		}
	})
	return a.closeErr
}

// String returns the name of the Agent's first source. It never shows a token.
func (a *Agent) String() string { return "agent(" + a.sources[0].info().name + ")" }

// Format implements [fmt.Formatter]: it writes String for every verb and flag, so
// that no verb shows a token.
func (a *Agent) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, a.String()) }
