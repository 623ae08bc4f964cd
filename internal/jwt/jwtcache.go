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

// A jwtCache knows signed tokens again whose signature was good. A hit is found
// by a hash that is keyed at random and decided by a comparison of the whole
// token; it takes no lock and writes nothing. Only good tokens get in, so nobody
// without one can push others out. What is found is no answer yet: whether the
// token is accepted now, the one who asks decides.
//
// It is an array of small sets, each of which a new entry replaces one of: first
// one that is of no use any more, else one at random, since keeping account of
// uses would make every reader a writer.
type jwtCache struct {
	seed maphash.Seed
	sets []cacheSet // a power of two
}

const cacheWays = 4

type cacheSet [cacheWays]atomic.Pointer[cached]

// A cached token is immutable.
type cached struct {
	hash      uint64
	token     string
	set       *byte // the mark of the set under which it was found good
	key       *keyEntry
	subject   string // "" for none
	claims    map[string]any
	principal *verify.Principal
	notBefore time.Time // with the leeway taken off; zero for none
	expires   time.Time // with the leeway put on
	// What can revoke it, beside its key: its digest, and its jti and kid where
	// it has them, else zero.
	signingSum, jti, kid rotation.ID
}

// newJWTCache returns a cache for about size tokens, and nil for none.
func newJWTCache(size int) *jwtCache {
	if size <= 0 {
		return nil
	}
	n := 1 << bits.Len(uint((size-1)/cacheWays)) // at least size in all
	return &jwtCache{seed: maphash.MakeSeed(), sets: make([]cacheSet, n)}
}

// hash returns the hash of a token. The nil cache has none.
func (c *jwtCache) hash(token string) uint64 {
	if c == nil {
		return 0
	}
	return maphash.String(c.seed, token)
}

// find returns what is known of the token, and nil for nothing.
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

// put takes in e, which was found good under keys. An entry of the same token goes.
func (c *jwtCache) put(e *cached, keys *KeySet, now time.Time) {
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
		case victim < 0 && (old == nil || !now.Before(old.expires) || keys.byID[old.key.key.ID()] == nil):
			victim = i
		}
	}
	if victim < 0 {
		victim = rand.IntN(cacheWays) //nolint:gosec // no secret
	}
	set[victim].Store(e)
}
