package token

import (
	"cmp"
	"context"
	"fmt"
	"hash/maphash"
	"io"
	"math/bits"
	"time"

	"github.com/tokenagent/tokenagent/internal/consttime"
	"github.com/tokenagent/tokenagent/internal/counter"
	"github.com/tokenagent/tokenagent/internal/rotation"
	"github.com/tokenagent/tokenagent/pkg/verify"
)

// A Set is the Verifier of the shared tokens that one ledger accepts. It is immutable and
// safe for concurrent use. The nil Set is not loaded yet: it refuses every token with
// ErrUnavailable. The zero Set accepts no token.
//
// The duration of Verify does not depend on the number of accepted tokens, except that
// one or two tokens take slightly less. A keyed hash of the presented token, with a
// random seed for each set, finds the only candidate. A constant-time comparison of the
// whole token decides. So the duration of a refusal reveals the length of the presented
// token, which its sender knows, but nothing about the accepted tokens.
type Set struct {
	// If a verb does not fit, fmt follows a pointer to a struct, but never a pointer to a
	// pointer. So fmt prints no token, even if the set is an unexported field of another
	// struct.
	index **index
	// byDigest holds the tokens whose bytes are unknown.
	byDigest map[rotation.ID]*tokenEntry
	ledger   *rotation.Ledger[Token]
	refuses  bool // whether the ledger knows refused credentials
}

// An index is a hash table with open addressing.
type index struct {
	count int               // number of tokens
	few   [fewTokens]bucket // all tokens, if there are at most fewTokens
	seed  maphash.Seed
	table []bucket // its length is a power of two; at most half full
}

// fewTokens is the number of tokens up to which Verify compares each token: two
// comparisons of 200 bytes cost less than one hash. Between rotations there is one token,
// and during a rotation there are two.
const fewTokens = 2

// A bucket is half a cache line. It holds the token itself, so that the comparison does
// not wait for the entry to arrive from memory.
type bucket struct {
	hash  uint64
	token string
	entry *tokenEntry
}

type tokenEntry struct {
	principal *verify.Principal
	entry     *rotation.Entry[Token]
	uses      *counter.Counter // nil if nothing counts the uses
	// conditional reports whether the ledger's entry must accept each use. It is fixed
	// when the set is built, so the common case skips a cache miss on the entry.
	conditional bool
}

// SetOptions configure a Set.
type SetOptions struct {
	// Source is the configured name of the token source, which is also the subject of the
	// Principals without a client.
	Source string
	// Allows reports whether the tokens of a client are in the set. nil means all are.
	Allows func(client string) bool
	// Count returns what counts the uses of a client's tokens in a slot. nil, and a nil
	// result, mean that nothing does.
	Count func(client string, slot rotation.Slot) *counter.Counter
}

// NewSet returns the set of the tokens that l accepts. If l is nil, NewSet returns nil.
func NewSet(l *rotation.Ledger[Token], o SetOptions) *Set {
	if l == nil {
		return nil
	}
	x := &index{
		seed:  maphash.MakeSeed(),
		table: make([]bucket, 1<<bits.Len(uint(2*len(l.Entries)))),
	}
	s := &Set{index: &x, ledger: l}
	for i := range l.Entries {
		e := &l.Entries[i]
		if o.Allows != nil && !o.Allows(e.Client) {
			continue
		}
		t := &tokenEntry{
			entry:       e,
			conditional: e.Dated() || e.Opens(),
			principal: verify.NewPrincipal(verify.PrincipalConfig{
				Subject: cmp.Or(e.Client, o.Source), Client: e.Client, Method: verify.MethodToken, Source: o.Source,
				KeyID: e.Value.Fingerprint(), Slot: e.Slot, Credential: e.ID,
			}),
		}
		if o.Count != nil {
			t.uses = o.Count(e.Client, e.Slot)
		}
		if text := e.Value.Reveal(); text != "" {
			x.put(text, t)
			continue
		}
		if s.byDigest == nil {
			s.byDigest = make(map[rotation.ID]*tokenEntry)
		}
		s.byDigest[e.ID] = t
	}
	l.EachRefused(func(rotation.ID, bool) { s.refuses = true })
	return s
}

func (x *index) put(token string, e *tokenEntry) {
	h := maphash.String(x.seed, token)
	mask := uint64(len(x.table) - 1)
	i := h & mask
	for x.table[i].entry != nil {
		i = (i + 1) & mask
	}
	x.table[i] = bucket{h, token, e}
	if x.count < fewTokens {
		x.few[x.count] = x.table[i]
	}
	x.count++
}

// Verify is Lookup without the counter. It counts nothing and ignores ctx.
func (s *Set) Verify(_ context.Context, token string) (*verify.Principal, error) {
	p, _, err := s.Lookup(token)
	return p, err
}

// Lookup accepts token if the set contains it and its deadline has not passed. Lookup
// compares the deadline with the current time and does not rely on a timer. It allocates
// nothing and takes no lock. Its errors are those of package verify, not wrapped. The
// counter is the one that SetOptions.Count returned; the caller adds the use to it.
func (s *Set) Lookup(token string) (*verify.Principal, *counter.Counter, error) {
	if s == nil {
		return nil, nil, verify.ErrUnavailable
	}
	if token == "" {
		return nil, nil, verify.ErrNoToken
	}
	if s.index == nil {
		return nil, nil, verify.ErrInvalidToken
	}
	e := (*s.index).find(token)
	if e == nil {
		var err error
		if e, err = s.lookupDigest(token); err != nil {
			return nil, nil, err
		}
	}
	if e.conditional && !e.accept() {
		return nil, nil, verify.ErrExpiredToken
	}
	return e.principal, e.uses, nil
}

// accept decides by the ledger's entry. For the current token, accept reads the clock
// only if a window waits for the first use of the token.
func (e *tokenEntry) accept() bool {
	return !e.entry.Dated() && !e.entry.Opens() || e.entry.Accept(time.Now())
}

// find returns the entry of token, or nil if the index does not contain the token. It
// compares token with each of few. If the lengths differ, find compares token with
// itself, so that its duration does not reveal the accepted lengths.
func (x *index) find(token string) (found *tokenEntry) {
	if x.count > fewTokens {
		return x.byHash(token)
	}
	for i := range x.count {
		b := &x.few[i]
		known := b.token
		if len(known) != len(token) {
			known = token
		}
		if consttime.Equal(known, token) && len(b.token) == len(token) {
			found = b.entry
		}
	}
	return found
}

func (x *index) byHash(token string) *tokenEntry {
	h := maphash.String(x.seed, token)
	for i := h; ; i++ {
		b := &x.table[i&uint64(len(x.table)-1)]
		if b.entry == nil {
			return nil
		}
		if b.hash == h && consttime.Equal(b.token, token) {
			return b.entry
		}
	}
}

// lookupDigest looks up a token that is not in the index. The token may be accepted
// although its bytes are unknown, may be superseded or revoked, or may be a guess. Only
// such a token pays for the SHA-256. The map lookup is not constant-time, but its
// duration depends only on the digest.
func (s *Set) lookupDigest(token string) (*tokenEntry, error) {
	if len(s.byDigest) == 0 && !s.refuses {
		return nil, verify.ErrInvalidToken
	}
	id := verify.Digest(token)
	switch {
	case s.ledger.Revoked(id):
		return nil, verify.ErrRevokedToken
	case s.ledger.Ended(id):
		return nil, verify.ErrExpiredToken
	}
	if e := s.byDigest[id]; e != nil {
		return e, nil
	}
	return nil, verify.ErrInvalidToken
}

// String returns the number of tokens, and never a token.
func (s *Set) String() string {
	if s == nil {
		return "tokens(not loaded)"
	}
	n := 0
	if s.ledger != nil {
		n = len(s.ledger.Entries)
	}
	return fmt.Sprintf("tokens(%d)", n)
}

// Format writes String for every verb and flag.
func (s *Set) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, s.String()) }
