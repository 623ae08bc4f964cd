// Package jwt verifies signed tokens: JSON Web Tokens (RFC 7519). A [KeySet] holds
// the keys that one ledger accepts, a [Verifier] checks tokens against it and
// remembers those whose signature was good. Package jwks reads the keys.
package jwt

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/tokenagent/tokenagent/internal/claims"
	"github.com/tokenagent/tokenagent/internal/rotation"
	"github.com/tokenagent/tokenagent/pkg/verify"
)

// A Config says which signed tokens are accepted.
type Config struct {
	// Issuer is the "iss" that a token must have, to the letter (RFC 7519 section
	// 4.1.1). Required: without it a token that the same keys signed for anybody
	// would do.
	Issuer string
	// Audiences are those of which a token's "aud" must name one (RFC 7519
	// section 4.1.3). At least one is required, for the same reason.
	Audiences []string
	// Algorithms are those that are accepted. None means every one that a key is
	// pinned to. "Ed25519" (RFC 9864) and "EdDSA" (RFC 8037) mean the same.
	Algorithms []string
	// Types are the accepted values of the header "typ" (RFC 7515 section 4.1.9),
	// such as "at+jwt" (RFC 9068 section 2.1), in any case and with or without
	// "application/". None means that it is not looked at.
	Types []string
	// RequiredClaims are claims that a token must have, and for each the accepted
	// values; none means any. A name that begins with "/" is a JSON Pointer (RFC
	// 6901) into the claims, such as /realm_access/roles. Of a list one element
	// must match; of the strings "scope" (RFC 8693 section 4.2) and "scp" one
	// word, where words are separated by spaces (RFC 6749 section 3.3).
	RequiredClaims map[string][]string
	// Leeway is how much the clocks of issuer and verifier may differ: it is added
	// to "exp" and taken from "nbf". 0 means DefaultLeeway, negative none. At most
	// 10 minutes.
	Leeway time.Duration
	// MaxBytes is the longest token that is parsed, in bytes. 0 means 16 KiB.
	MaxBytes int
	// CacheSize is how many verified tokens are known again without checking
	// their signature. 0 means DefaultCacheSize, negative none.
	CacheSize int
	// OnUnknownKey is called with the kid of a token for which there is no key, or
	// whose signature none of the keys for it has made, so that a remote source can
	// look whether there is one now: issuers publish new keys under old names, too.
	// Whoever sends tokens chooses the kid, which may be "". It must not block. nil
	// for nobody.
	OnUnknownKey func(kid string)
}

// DefaultCacheSize is how many verified tokens are known again by default.
const DefaultCacheSize = 4096

// DefaultLeeway is how much clocks may differ by default.
const DefaultLeeway = 30 * time.Second

const (
	defaultMaxJWTBytes = 16 << 10
	// maxCachedBytes is the longest token that is cached: the cache is bounded by
	// its entries, so each of them must be bounded too.
	maxCachedBytes = 4 << 10
)

// A Verifier is the [Verifier] of signed tokens: JSON Web Tokens (RFC 7519) in
// the compact form of RFC 7515. It is safe for concurrent use. The zero
// Verifier is not usable.
type Verifier struct {
	keys  func() *KeySet
	cfg   Config
	types []string
	// required is cfg.RequiredClaims in the form in which tokens are asked for them.
	required []claims.Requirement
	cache    *jwtCache
	checks   *checkLimit
	// recent is the key that signed the latest token which did not say its key.
	recent atomic.Pointer[rotation.ID]

	busy    atomic.Uint64
	longest atomic.Int64 // nanoseconds
}

var _ verify.Verifier = (*Verifier)(nil)

// NewVerifier returns a Verifier that accepts what c asks for and one of keys
// signed. keys is called once for each verification and may return another set
// each time; nil means that none is loaded, and is refused with ErrUnavailable.
func NewVerifier(keys func() *KeySet, c Config) (*Verifier, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	if keys == nil {
		return nil, errors.New("verify: JWT: keys must not be nil")
	}
	c.Audiences, c.Algorithms = slices.Clone(c.Audiences), slices.Clone(c.Algorithms)
	if c.MaxBytes == 0 {
		c.MaxBytes = defaultMaxJWTBytes
	}
	if c.CacheSize == 0 {
		c.CacheSize = DefaultCacheSize
	}
	if c.Leeway == 0 {
		c.Leeway = DefaultLeeway
	}
	c.Leeway = max(c.Leeway, 0)
	for i, alg := range c.Algorithms {
		c.Algorithms[i] = canonicalAlgorithm(alg)
	}
	v := &Verifier{
		keys: keys, cfg: c, cache: newJWTCache(c.CacheSize),
		checks: processChecks,
	}
	for _, name := range slices.Sorted(maps.Keys(c.RequiredClaims)) {
		r, err := claims.Require(name, slices.Clone(c.RequiredClaims[name]))
		if err != nil {
			return nil, err // never: Validate has looked
		}
		v.required = append(v.required, r)
	}
	for _, t := range c.Types {
		v.types = append(v.types, bareType(t))
	}
	return v, nil
}

// Validate reports everything that is wrong with c. golang-jwt takes an empty
// issuer or audience for one that need not be checked; here it is a fault.
func (c *Config) Validate() error {
	var faults []error
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf("verify: JWT: "+format, args...)) }
	if c.Issuer == "" {
		fault("no issuer; give the iss that tokens must have")
	}
	if len(c.Audiences) == 0 || slices.Contains(c.Audiences, "") {
		fault("no audience, or an empty one; give the aud that tokens must have")
	}
	for i, a := range c.Algorithms {
		if !slices.Contains(Algorithms(), a) {
			fault("Algorithms[%d] is none of %s", i, strings.Join(Algorithms(), ", "))
		}
	}
	if slices.Contains(c.Types, "") {
		fault("an empty type; leave it out")
	}
	for _, name := range slices.Sorted(maps.Keys(c.RequiredClaims)) {
		if _, err := claims.Require(name, nil); err != nil {
			fault("a required claim: %w", err)
		}
	}
	if c.Leeway > maxLeeway {
		fault("Leeway must be at most %s; 0 means %s, negative none", maxLeeway, DefaultLeeway)
	}
	if c.MaxBytes < 0 {
		fault("MaxBytes is negative; 0 means %d", defaultMaxJWTBytes)
	}
	return errors.Join(faults...)
}

// maxLeeway keeps a leeway from making exp mean nothing.
const maxLeeway = 10 * time.Minute

// Verify accepts token if one of the keys signed it and it claims what is asked
// for. A token that it has verified before is found in a cache for as long as the
// token, its key and the revocations allow; that waits for nothing and allocates
// nothing. Any other token waits until its signature is checked, which at most half
// of the processors (GOMAXPROCS at start) do at once, for all verifiers of the process.
// Where so many wait that it cannot join them within 100 ms, or when ctx ends, the
// answer is ErrBusy. While others wait, a token with a bad signature is refused after
// about a second, so that whoever sent it does not send the next at once.
func (v *Verifier) Verify(ctx context.Context, token string) (*verify.Principal, error) {
	set := v.keys()
	switch {
	case set == nil:
		return nil, errNoKeys
	case token == "":
		return nil, verify.ErrNoToken
	case len(token) > v.cfg.MaxBytes:
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

// verifyUncached verifies a token and adds it to the cache. known is its entry from
// an earlier set, or nil: a good signature stays good while its key is there.
func (v *Verifier) verifyUncached(ctx context.Context, set *KeySet, token string, hash uint64, known *cached) (*cached, error) {
	if known != nil {
		key := set.find(known.key.key)
		if key == nil {
			known = nil // maybe another key has signed it, too
		} else {
			next := *known
			next.set, next.key = set.mark, key
			next.principal = next.principalOf(set, key)
			known = &next
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
		if known, err = v.judge(set, key, j); err != nil {
			return nil, err
		}
		// A copy: the caller's may be a part of something large, or be used again.
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
	if len(v.cfg.Algorithms) > 0 && !slices.Contains(v.cfg.Algorithms, j.alg) || !slices.Contains(Algorithms(), j.alg) {
		return nil, errAlgorithm
	}
	if len(v.types) > 0 && !slices.Contains(v.types, bareType(j.typ)) {
		return nil, errType
	}
	keys, err := set.candidates(j.alg, j.kid, j.named, time.Now())
	if err != nil {
		if verify.Class(err) == verify.Invalid { // and not one that is known to be gone
			v.unknown(j.kid)
		}
		return nil, err
	}
	nameless := !j.named || keys[0].key.KeyID() == "" // the token does not say which key
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
	v.unknown(j.kid) // the issuer may have a new key under the old name
	v.checks.hold(ctx)
	return nil, ErrSignature
}

// recentFirst moves the key that signed the latest token which did not say its key to
// the front: issuers that name no keys mostly sign with one of them at a time, and
// forged tokens never change which.
func (v *Verifier) recentFirst(keys []*keyEntry) {
	id := v.recent.Load()
	if id == nil {
		return
	}
	for i, k := range keys {
		if k.key.ID() == *id {
			copy(keys[1:i+1], keys[:i])
			keys[0] = k
			return
		}
	}
}

func (v *Verifier) unknown(kid string) {
	if v.cfg.OnUnknownKey != nil {
		v.cfg.OnUnknownKey(kid)
	}
}

// Busy returns how many tokens were refused because too many signatures waited to be
// checked.
func (v *Verifier) Busy() uint64 { return v.busy.Load() }

// LongestLifetime returns the longest time between "iat" and "exp" of the tokens
// that were accepted: a key must stay accepted for as long after it has signed
// its last. 0 means that none had both.
func (v *Verifier) LongestLifetime() time.Duration { return time.Duration(v.longest.Load()) }

// String returns a text that holds no token.
func (v *Verifier) String() string { return "jwt verifier" }

// Format writes String for every verb and flag.
func (v *Verifier) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, v.String()) }

// bareType returns a media type as it is compared (RFC 7515 section 4.1.9).
func bareType(t string) string { return strings.TrimPrefix(strings.ToLower(t), "application/") }
