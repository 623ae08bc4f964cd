// Package jwt verifies signed tokens: JSON Web Tokens (RFC 7519). A [KeySet] holds the
// keys that one ledger accepts. A [Verifier] verifies tokens with a KeySet and caches
// verified tokens. Package jwks loads the keys.
package jwt

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-multierror"

	"github.com/tokenagent/tokenagent/internal/option"
	"github.com/tokenagent/tokenagent/internal/rotation"
	"github.com/tokenagent/tokenagent/pkg/verify"
)

// A Config says which signed tokens are accepted. Issuer and Audiences are required, so
// the zero Config is not valid. agent.JWT describes the fields that embedders set.
type Config struct {
	Issuer         string
	Audiences      []string
	Algorithms     []string
	Types          []string
	RequiredClaims map[string][]string
	Leeway         time.Duration // zero means DefaultLeeway
	CacheSize      int           // zero means DefaultCacheSize

	// OnUnknownKey, if not nil, is called if no key matches a token, or if none of the
	// matching keys made its signature. A remote source can then look for new keys;
	// issuers also publish new keys under old names. OnUnknownKey must not block, and
	// must be safe for concurrent use.
	OnUnknownKey func()
}

const (
	// DefaultCacheSize is the default number of cached tokens.
	DefaultCacheSize = 4096
	// DefaultLeeway is the default allowed difference between clocks.
	DefaultLeeway = 30 * time.Second
	// MaxLeeway bounds Leeway, so that exp keeps its meaning.
	MaxLeeway = 10 * time.Minute
	// MaxBytes is the length in bytes of the longest accepted token.
	MaxBytes = 16 << 10
	// maxCachedBytes is the maximum length of a cached token. The cache bounds the number
	// of its entries, so the size of an entry must be bounded, too.
	maxCachedBytes = 4 << 10
)

// A Verifier is the [verify.Verifier] of signed tokens: JSON Web Tokens (RFC 7519) in the
// compact serialization (RFC 7515 section 7.1). It is safe for concurrent use. The zero
// Verifier is not usable; use NewVerifier.
type Verifier struct {
	keys     func() *KeySet
	cfg      Config
	types    []string      // cfg.Types in the form for comparison
	required []Requirement // from cfg.RequiredClaims
	cache    *jwtCache
	checks   *checkLimit
	recent   atomic.Pointer[rotation.ID] // the key that signed the latest token without a usable kid
	busy     atomic.Uint64               // see Busy
	longest  atomic.Int64                // see LongestLifetime; nanoseconds
}

var _ verify.Verifier = (*Verifier)(nil)

// NewVerifier returns a Verifier that accepts the tokens that meet c and that one of keys
// signed. NewVerifier copies c. The Verifier calls keys once for each verification. The
// function keys must be safe for concurrent use. If it returns nil, no keys are loaded,
// and the Verifier refuses the token with ErrUnavailable.
func NewVerifier(keys func() *KeySet, c Config) (*Verifier, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	if keys == nil {
		return nil, errors.New("verify: JWT: keys must not be nil")
	}
	c.Audiences, c.Algorithms = slices.Clone(c.Audiences), slices.Clone(c.Algorithms)
	if len(c.Algorithms) == 0 {
		c.Algorithms = Algorithms()
	}
	for i, alg := range c.Algorithms {
		c.Algorithms[i] = CanonicalAlgorithm(alg)
	}
	c.CacheSize = cmp.Or(c.CacheSize, DefaultCacheSize)
	c.Leeway = max(cmp.Or(c.Leeway, DefaultLeeway), 0)
	if c.OnUnknownKey == nil {
		c.OnUnknownKey = func() {}
	}
	v := &Verifier{keys: keys, cfg: c, cache: newJWTCache(c.CacheSize), checks: processChecks}
	for _, name := range slices.Sorted(maps.Keys(c.RequiredClaims)) {
		r, _ := Require(name, slices.Clone(c.RequiredClaims[name])) // Validate has checked the name
		v.required = append(v.required, r)
	}
	for _, t := range c.Types {
		v.types = append(v.types, BareType(t))
	}
	return v, nil
}

// Validate returns an error that lists everything that is wrong with c, as a go-multierror
// of option.Errors, or nil. golang-jwt does not check an empty issuer or audience, so
// Validate rejects them.
func (c *Config) Validate() error {
	errs := &multierror.Error{ErrorFormat: option.OneLine}
	fail := func(format string, args ...any) {
		errs.Errors = append(errs.Errors, option.Errorf(option.Field, format, args...))
	}
	if c.Issuer == "" {
		fail("{issuer} is missing: give the iss that signed tokens must have, since the same keys may sign for others")
	}
	if len(c.Audiences) == 0 || slices.Contains(c.Audiences, "") {
		fail("{audience} is missing: give the aud that signed tokens must have, since the same keys may sign for others")
	}
	for _, a := range c.Algorithms {
		if !slices.Contains(Algorithms(), a) {
			fail("{algorithm} must be one of %s", strings.Join(Algorithms(), ", "))
		}
	}
	if slices.Contains(c.Types, "") {
		fail("{jwt-type} is empty; leave it out")
	}
	for _, name := range slices.Sorted(maps.Keys(c.RequiredClaims)) {
		if _, err := Require(name, nil); err != nil {
			fail("{require-claim}: %w", err)
		}
	}
	if c.Leeway > MaxLeeway {
		fail("{leeway} must be at most %s", MaxLeeway)
	}
	return errs.ErrorOrNil()
}

// Verify accepts token if one of the keys signed it and its claims meet the Config.
// Verify finds a token that it has verified before in a cache, as long as the token, its
// key and the revocations allow; such a call does not block and allocates nothing.
//
// Any other token waits for the check of its signature. All verifiers of the process
// together check at most as many signatures at once as half of the processors (GOMAXPROCS
// at start). If the queue stays full for 100 ms, or if ctx ends first, Verify returns
// ErrBusy. While other checks wait, Verify delays the refusal of a token with a bad
// signature by about a second, which slows down senders of forged tokens.
func (v *Verifier) Verify(ctx context.Context, token string) (*verify.Principal, error) {
	set := v.keys()
	switch {
	case set == nil:
		return nil, errNoKeys
	case token == "":
		return nil, verify.ErrNoToken
	case len(token) > MaxBytes:
		return nil, errTooLong
	}
	hash := v.cache.hash(token)
	e := v.cache.find(hash, token)
	if e == nil || e.set != set.mark {
		var err error
		if e, err = v.verifyUncached(ctx, set, token, hash, e); err != nil {
			return nil, err
		}
	}
	now := time.Now()
	if !now.Before(e.expires) {
		return nil, errExpired
	}
	if now.Before(e.notBefore) {
		return nil, errNotBefore
	}
	if (e.key.entry.Dated() || e.key.entry.Opens()) && !e.key.entry.Accept(now) {
		return nil, errKeyExpired
	}
	return e.principal, nil
}

// verifyUncached verifies a token and adds it to the cache. The argument known is the
// cached entry from an earlier key set, or nil. The signature of known need not be
// checked again if its key is in set.
func (v *Verifier) verifyUncached(ctx context.Context, set *KeySet, token string, hash uint64, known *cached) (*cached, error) {
	if known != nil {
		if key := set.find(known.key.key); key != nil {
			next := *known
			next.set, next.key = set.mark, key
			next.principal = next.principalOf(set, key)
			known = &next
		} else {
			known = nil // another key may have signed the token
		}
	}
	if known == nil {
		j, err := parseJWS(token)
		if err != nil {
			return nil, err
		}
		key, err := v.signer(ctx, set, j)
		if err != nil {
			return nil, err
		}
		if known, err = v.checkClaims(set, key, j); err != nil {
			return nil, err
		}
		// Clone the token: the caller's string may be part of a larger string, or its
		// memory may be reused.
		known.hash, known.token = hash, strings.Clone(token)
	}
	if set.revokes && slices.ContainsFunc([]rotation.ID{known.signingSum, known.jti, known.kid}, set.revoked) {
		return nil, errRevoked
	}
	if len(token) <= maxCachedBytes {
		v.cache.put(known, set, time.Now())
	}
	return known, nil
}

// signer returns the key that signed j.
func (v *Verifier) signer(ctx context.Context, set *KeySet, j *jws) (*keyEntry, error) {
	if !slices.Contains(v.cfg.Algorithms, j.alg) {
		return nil, errAlgorithm
	}
	if len(v.types) > 0 && !slices.Contains(v.types, BareType(j.typ)) {
		return nil, errType
	}
	keys, err := set.candidates(j, time.Now())
	if err != nil {
		if verify.Class(err) == verify.Invalid { // the key is unknown, and not revoked or expired
			v.cfg.OnUnknownKey()
		}
		return nil, err
	}
	nameless := !j.named || keys[0].key.KeyID() == "" // the token does not name a single key
	if nameless {
		v.recentFirst(keys)
	}
	for i, k := range keys {
		good, done := v.checks.do(ctx, i == 0, func() bool { return k.key.verify(j.signingInput, j.signature) })
		if !done {
			v.busy.Add(1)
			return nil, verify.ErrBusy
		}
		if good {
			if i > 0 && nameless {
				id := k.key.ID()
				v.recent.Store(&id)
			}
			return k, nil
		}
	}
	v.cfg.OnUnknownKey() // the issuer may have a new key with the old kid
	v.checks.hold(ctx)
	return nil, ErrSignature
}

// recentFirst moves the key that signed the latest token without a usable kid to the
// front of keys. Issuers that send no kid mostly sign with one key at a time. A forged
// token never changes the order.
func (v *Verifier) recentFirst(keys []*keyEntry) {
	id := v.recent.Load()
	i := slices.IndexFunc(keys, func(k *keyEntry) bool { return id != nil && k.key.ID() == *id })
	if i > 0 {
		recent := keys[i]
		copy(keys[1:], keys[:i])
		keys[0] = recent
	}
}

// Busy returns the number of tokens that were refused with ErrBusy.
func (v *Verifier) Busy() uint64 { return v.busy.Load() }

// LongestLifetime returns the longest time between "iat" and "exp" of all accepted
// tokens, or 0 if none had both claims. A superseded key must stay accepted for this time
// after its last signature.
func (v *Verifier) LongestLifetime() time.Duration { return time.Duration(v.longest.Load()) }

// BareType returns a "typ" in the form for comparison (RFC 7515 section 4.1.9).
func BareType(t string) string { return strings.TrimPrefix(strings.ToLower(t), "application/") }
