package jwt

import (
	"hash/maphash"
	"math/bits"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/tokenagent/tokenagent/internal/consttime"
	"github.com/tokenagent/tokenagent/internal/rotation"
	"github.com/tokenagent/tokenagent/pkg/verify"
)

// A jwtCache caches signed tokens with a good signature. A lookup finds the entry by a
// hash with a random key and compares the whole token. A lookup takes no lock and writes
// nothing. The cache holds only verified tokens, so a sender without a valid token cannot
// evict entries. An entry does not mean that the token is accepted now; the caller
// decides that.
//
// The cache is an array of small sets. A new entry replaces a useless entry of its set,
// or a random entry if all are useful. The cache does not record uses, because a record
// would turn every reader into a writer.
type jwtCache struct {
	seed maphash.Seed
	sets []cacheSet // the length is a power of two
}

const cacheWays = 4

type cacheSet [cacheWays]atomic.Pointer[cached]

// A cached token is immutable.
type cached struct {
	hash      uint64
	token     string
	issuer    *Issuer
	at        int   // the index of issuer in the Verifier
	set       *byte // the mark of the key set that verified the token
	key       *keyEntry
	subject   string // "" if the token has none
	claims    string // JSON
	principal *verify.Principal
	notBefore time.Time // nbf minus the leeway; zero if there is no nbf
	expires   time.Time // exp plus the leeway
	// The IDs, besides the key, that revoke the token: its digest, its jti and its kid.
	// The ID of a missing jti or kid is zero.
	signingSum, jti, kid rotation.ID
}

// newJWTCache returns a cache for at least size tokens, or nil if size is not positive.
func newJWTCache(size int) *jwtCache {
	if size <= 0 {
		return nil
	}
	n := 1 << bits.Len(uint((size-1)/cacheWays)) // at least size entries in all sets
	return &jwtCache{seed: maphash.MakeSeed(), sets: make([]cacheSet, n)}
}

// hash returns the hash of a token. It returns 0 for the nil cache.
func (c *jwtCache) hash(token string) uint64 {
	if c == nil {
		return 0
	}
	return maphash.String(c.seed, token)
}

// find returns the entry of the token, or nil if there is none.
func (c *jwtCache) find(hash uint64, token string) *cached {
	if c == nil {
		return nil
	}
	set := &c.sets[hash&uint64(len(c.sets)-1)]
	for i := range set {
		if e := set[i].Load(); e != nil && e.hash == hash && consttime.Equal(e.token, token) {
			return e
		}
	}
	return nil
}

// put adds e. It replaces an entry of the same token. isSigned reports whether an entry
// still has a good signature.
func (c *jwtCache) put(e *cached, now time.Time, isSigned func(*cached) bool) {
	if c == nil {
		return
	}
	set := &c.sets[e.hash&uint64(len(c.sets)-1)]
	victim := -1
	for i := range set {
		old := set[i].Load()
		switch {
		case old != nil && old.hash == e.hash && old.token == e.token:
			set[i].Store(e)
			return
		case victim < 0 && (old == nil || !now.Before(old.expires) || !isSigned(old)):
			victim = i
		}
	}
	if victim < 0 {
		victim = rand.IntN(cacheWays) //nolint:gosec // the choice is not a secret
	}
	set[victim].Store(e)
}
