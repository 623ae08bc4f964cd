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

// A Config says which signed tokens of one issuer are accepted. Issuer and Audiences are
// required, so the zero Config is not valid. agent.JWT describes the fields that embedders
// set.
type Config struct {
	Issuer string
	// Issuers, if not nil and Issuer is "", returns the names of the issuer that are known so
	// far. While there are none, a token that may have one is refused with ErrUnavailable. If a
	// token has another iss, OnUnknownKey is called, because the issuer may have a new name. A
	// name may be added, but not removed while tokens with it are valid. Issuers must be safe
	// for concurrent use.
	Issuers func() []string
	// AllowMissingIssuer accepts tokens without "iss". Issuer may then be "".
	AllowMissingIssuer bool
	// TrustDomain makes every token a JWT-SVID of this SPIFFE trust domain. Issuer may
	// then be "", which accepts any iss and none.
	TrustDomain    string
	Audiences      []string
	Algorithms     []string
	Types          []string
	RequiredClaims map[string][]string
	Leeway         time.Duration // zero means DefaultLeeway

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

// An Issuer holds the keys and the rules for the tokens of one issuer. It is safe for
// concurrent use. The zero Issuer is not usable; use NewIssuer.
type Issuer struct {
	keys     func() *KeySet
	cfg      Config
	types    []string                    // cfg.Types in the form for comparison
	required []Requirement               // from cfg.RequiredClaims
	recent   atomic.Pointer[rotation.ID] // the key that signed the latest token without a usable kid
	busy     atomic.Uint64               // see Busy
	longest  atomic.Int64                // see LongestLifetime; nanoseconds
}

// NewIssuer returns the Issuer whose tokens must meet c and be signed by one of keys.
// NewIssuer copies c. A Verifier calls keys once for each verification. The function keys
// must be safe for concurrent use. If it returns nil, no keys are loaded, and the tokens
// of the Issuer are refused with ErrUnavailable.
func NewIssuer(keys func() *KeySet, c Config) (*Issuer, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	if keys == nil {
		return nil, errors.New("verify: JWT: keys must not be nil")
	}
	c.Audiences, c.Algorithms = slices.Clone(c.Audiences), slices.Clone(c.Algorithms)
	if len(c.Algorithms) == 0 {
		c.Algorithms = c.algorithms()
	}
	for i, alg := range c.Algorithms {
		c.Algorithms[i] = CanonicalAlgorithm(alg)
	}
	c.Leeway = max(cmp.Or(c.Leeway, DefaultLeeway), 0)
	if c.OnUnknownKey == nil {
		c.OnUnknownKey = func() {}
	}
	iss := &Issuer{keys: keys, cfg: c}
	for _, name := range slices.Sorted(maps.Keys(c.RequiredClaims)) {
		r, _ := Require(name, slices.Clone(c.RequiredClaims[name])) // Validate has checked the name
		iss.required = append(iss.required, r)
	}
	for _, t := range c.Types {
		iss.types = append(iss.types, BareType(t))
	}
	return iss, nil
}

// Validate returns an error that lists everything that is wrong with c, as a go-multierror
// of option.Errors, or nil. golang-jwt does not check an empty issuer or audience, so
// Validate rejects them.
func (c *Config) Validate() error {
	errs := &multierror.Error{ErrorFormat: option.OneLine}
	fail := func(format string, args ...any) {
		errs.Errors = append(errs.Errors, option.Errorf(option.Field, format, args...))
	}
	if c.Issuer == "" && c.Issuers == nil && !c.AllowMissingIssuer && c.TrustDomain == "" {
		fail("{issuer} is missing: give the iss that signed tokens must have, since the same keys may sign for others")
	}
	if len(c.Audiences) == 0 || slices.Contains(c.Audiences, "") {
		fail("{audience} is missing: give the aud that signed tokens must have, since the same keys may sign for others")
	}
	for _, a := range c.Algorithms {
		if supported := c.algorithms(); !slices.Contains(supported, a) {
			fail("{algorithm} must be one of %s", strings.Join(supported, ", "))
		}
	}
	switch {
	case slices.Contains(c.Types, ""):
		fail("{jwt-type} is empty; leave it out")
	case len(c.Types) > 0 && c.TrustDomain != "":
		fail("{jwt-type} and {trust-domain} are both set; the typ of a JWT-SVID is JWT, JOSE or absent: leave {jwt-type} out")
	}
	if c.TrustDomain != "" && !ValidTrustDomain(c.TrustDomain) {
		fail("{trust-domain} must be lower-case letters, digits, '.', '-' or '_', such as prod.example; leave out spiffe:// and the path")
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

// A Verifier is the [verify.Verifier] of signed tokens: JSON Web Tokens (RFC 7519) in the
// compact serialization (RFC 7515 section 7.1). It is safe for concurrent use. The zero
// Verifier is not usable; use NewVerifier.
//
// The "iss" of a token chooses the issuer whose keys and rules apply. If no issuer has that
// name, or if the token has no iss, the trust domain in "sub" chooses it. Both are read
// before the signature is checked and compared again afterwards. The keys of other issuers
// are never tried.
type Verifier struct {
	issuers []*Issuer
	learned []int          // the indexes of the issuers with Config.Issuers
	byIss   map[string]int // the index of each issuer; "" for the one that accepts tokens without iss
	// byTrustDomain is the index of each issuer with a trust domain.
	byTrustDomain map[string]int
	cache         *jwtCache
	checks        *checkLimit
}

var _ verify.Verifier = (*Verifier)(nil)

// NewVerifier returns a Verifier of the tokens of issuers, with a cache for cacheSize
// tokens. A cacheSize of 0 means DefaultCacheSize, and a negative one none. The issuers
// must have different values of Config.Issuer and of Config.TrustDomain, and of those
// without a TrustDomain only one may allow tokens without an issuer.
func NewVerifier(cacheSize int, issuers ...*Issuer) *Verifier {
	v := &Verifier{
		issuers: issuers, byIss: make(map[string]int, len(issuers)), byTrustDomain: make(map[string]int),
		cache: newJWTCache(cmp.Or(cacheSize, DefaultCacheSize)), checks: processChecks,
	}
	for i, iss := range issuers {
		if iss.cfg.Issuer != "" {
			v.byIss[iss.cfg.Issuer] = i
		} else if iss.cfg.Issuers != nil {
			v.learned = append(v.learned, i)
		}
		if iss.cfg.TrustDomain != "" {
			v.byTrustDomain[iss.cfg.TrustDomain] = i
		} else if iss.cfg.AllowMissingIssuer {
			v.byIss[""] = i
		}
	}
	return v
}

// Verify accepts token if a key of its issuer signed it and its claims meet the Config of
// that issuer. Verify finds a token that it has verified before in a cache, as long as the
// token, its key and the revocations allow; such a call does not block and allocates
// nothing.
//
// Any other token waits for the check of its signature. All verifiers of the process
// together check at most as many signatures at once as half of the processors (GOMAXPROCS
// at start). If the queue stays full for 100 ms, or if ctx ends first, Verify returns
// ErrBusy. While other checks wait, Verify delays the refusal of a token with a bad
// signature by about a second, which slows down senders of forged tokens.
func (v *Verifier) Verify(ctx context.Context, token string) (*verify.Principal, error) {
	p, _, err := v.VerifyIssuer(ctx, token)
	return p, err
}

// VerifyIssuer does what Verify does. If it accepts token, it also returns the index of
// the token's issuer among the issuers of the Verifier.
func (v *Verifier) VerifyIssuer(ctx context.Context, token string) (p *verify.Principal, issuer int, err error) {
	var hash uint64
	var e *cached
	if len(token) <= MaxBytes {
		hash = v.cache.hash(token)
		e = v.cache.find(hash, token)
	}
	if e == nil {
		e, err = v.verifyUncached(ctx, token, hash)
	} else if set := e.issuer.keys(); set == nil {
		err = errNoKeys
	} else if e.set != set.mark {
		e, err = v.verifyAgain(ctx, set, e)
	}
	if err != nil {
		return nil, 0, err
	}
	now := time.Now()
	if !now.Before(e.expires) {
		return nil, 0, errExpired
	}
	if now.Before(e.notBefore) {
		return nil, 0, errNotBefore
	}
	if (e.key.entry.Dated() || e.key.entry.Opens()) && !e.key.entry.Accept(now) {
		return nil, 0, errKeyExpired
	}
	return e.principal, e.at, nil
}

// verifyUncached verifies a token that is not in the cache, and adds it.
func (v *Verifier) verifyUncached(ctx context.Context, token string, hash uint64) (*cached, error) {
	switch {
	case !slices.ContainsFunc(v.issuers, func(iss *Issuer) bool { return iss.keys() != nil }):
		return nil, errNoKeys
	case token == "":
		return nil, verify.ErrNoToken
	case len(token) > MaxBytes:
		return nil, errTooLong
	}
	j, err := parseJWS(token)
	if err != nil {
		return nil, err
	}
	at, err := v.issuerOf(j)
	if err != nil {
		return nil, err
	}
	iss := v.issuers[at]
	set := iss.keys()
	if set == nil {
		return nil, errNoKeys
	}
	key, err := v.signer(ctx, iss, set, j)
	if err != nil {
		return nil, err
	}
	e, err := iss.checkClaims(set, key, j)
	if err == nil {
		err = v.checkSubject(at, e.subject)
	}
	if err != nil {
		return nil, err
	}
	// Clone the token: the caller's string may be part of a larger string, or its
	// memory may be reused.
	e.issuer, e.at, e.hash, e.token = iss, at, hash, strings.Clone(token)
	return v.admit(set, e)
}

// verifyAgain verifies the token of e, which was verified with an earlier key set of its
// issuer. The signature is not checked again if its key is in set.
func (v *Verifier) verifyAgain(ctx context.Context, set *KeySet, e *cached) (*cached, error) {
	key := set.find(e.key.key)
	if key == nil { // another key may have signed the token
		return v.verifyUncached(ctx, e.token, e.hash)
	}
	next := *e
	next.set, next.key = set.mark, key
	next.principal = next.principalOf(set, key)
	return v.admit(set, &next)
}

// admit adds e to the cache unless it is revoked.
func (v *Verifier) admit(set *KeySet, e *cached) (*cached, error) {
	if set.revokes && slices.ContainsFunc([]rotation.ID{e.signingSum, e.jti, e.kid}, set.revoked) {
		return nil, errRevoked
	}
	if len(e.token) <= maxCachedBytes {
		v.cache.put(e, time.Now(), (*cached).isSigned)
	}
	return e, nil
}

// accepts reports whether name is an "iss" of the issuer.
func (iss *Issuer) accepts(name string) bool {
	if iss.learns() {
		return name != "" && slices.Contains(iss.cfg.Issuers(), name)
	}
	return name != "" && name == iss.cfg.Issuer
}

// learns reports whether the names of the issuer come from Config.Issuers.
func (iss *Issuer) learns() bool { return iss.cfg.Issuer == "" && iss.cfg.Issuers != nil }

// refuseName returns the error about a token with an "iss" that the issuer does not accept.
func (iss *Issuer) refuseName() error {
	if !iss.learns() {
		return errIssuer
	}
	iss.cfg.OnUnknownKey() // the issuer may have a new name
	if len(iss.cfg.Issuers()) == 0 {
		return errNoName
	}
	return errIssuer
}

// isSigned reports whether the key that signed the token of e may still be accepted.
func (e *cached) isSigned() bool {
	set := e.issuer.keys()
	return set == nil || set.byID[e.key.key.ID()] != nil
}

// signer returns the key of iss that signed j. set holds the keys of iss.
func (v *Verifier) signer(ctx context.Context, iss *Issuer, set *KeySet, j *jws) (*keyEntry, error) {
	if !slices.Contains(iss.cfg.Algorithms, j.alg) {
		return nil, errAlgorithm
	}
	if !iss.acceptsType(j.typ) {
		return nil, errType
	}
	keys, err := set.candidates(j, time.Now())
	if err != nil {
		if verify.Class(err) == verify.Invalid { // the key is unknown, and not revoked or expired
			iss.cfg.OnUnknownKey()
		}
		return nil, err
	}
	nameless := !j.named || keys[0].key.KeyID() == "" // the token does not name a single key
	if nameless {
		iss.recentFirst(keys)
	}
	for i, k := range keys {
		good, done := v.checks.do(ctx, i == 0, func() bool { return k.key.verify(j.signingInput, j.signature) })
		if !done {
			iss.busy.Add(1)
			return nil, verify.ErrBusy
		}
		if good {
			if i > 0 && nameless {
				id := k.key.ID()
				iss.recent.Store(&id)
			}
			return k, nil
		}
	}
	iss.cfg.OnUnknownKey() // the issuer may have a new key with the old kid
	v.checks.hold(ctx)
	return nil, ErrSignature
}

// recentFirst moves the key that signed the latest token without a usable kid to the
// front of keys. Issuers that send no kid mostly sign with one key at a time. A forged
// token never changes the order.
func (iss *Issuer) recentFirst(keys []*keyEntry) {
	id := iss.recent.Load()
	i := slices.IndexFunc(keys, func(k *keyEntry) bool { return id != nil && k.key.ID() == *id })
	if i > 0 {
		recent := keys[i]
		copy(keys[1:], keys[:i])
		keys[0] = recent
	}
}

// Busy returns the number of tokens of the issuer that were refused with ErrBusy.
func (iss *Issuer) Busy() uint64 { return iss.busy.Load() }

// LongestLifetime returns the longest time between "iat" and "exp" of all accepted
// tokens of the issuer, or 0 if none had both claims. A superseded key must stay accepted
// for this time after its last signature.
func (iss *Issuer) LongestLifetime() time.Duration { return time.Duration(iss.longest.Load()) }

// BareType returns a "typ" in the form for comparison (RFC 7515 section 4.1.9).
func BareType(t string) string { return strings.TrimPrefix(strings.ToLower(t), "application/") }
