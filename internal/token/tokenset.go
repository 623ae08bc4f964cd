package token

import (
	"context"
	"fmt"
	"hash/maphash"
	"io"
	"math/bits"
	"time"

	"github.com/tokenagent/tokenagent/internal/consttime"
	"github.com/tokenagent/tokenagent/internal/rotation"
	"github.com/tokenagent/tokenagent/pkg/verify"
)

// A Set is the Verifier of opaque shared tokens: those that one ledger
// accepts. It is immutable and safe for concurrent use. The nil Set has
// not been loaded: it refuses everything with ErrUnavailable. The zero
// Set accepts nothing.
//
// Verify costs the same however many tokens are accepted, but for one or two
// somewhat less. A keyed hash of the presented token, seeded at random for each
// set, finds the one candidate; a comparison of the whole token that takes the
// same time wherever the two differ decides. So the time that a refusal takes tells the length of what
// was presented, which its sender knows, and nothing of what is accepted.
type Set struct {
	// fmt follows a pointer to a struct when the verb does not fit, but never
	// one to a pointer: so a set shows no token even where it cannot be asked
	// how to render itself, as in another struct's unexported field.
	index **index
	// What is looked for by SHA-256, where the index does not have it: tokens whose
	// bytes are not known, and those that are known and refused.
	byDigest map[rotation.ID]*tokenEntry
	ledger   *rotation.Ledger[Token]
	refuses  bool // it knows credentials that it refuses
}

// An index is a hash table with open addressing.
type index struct {
	few   [fewTokens]bucket // all there are, where that is no more
	known int               // how many of few that is; 0 where they are more
	seed  maphash.Seed
	table []bucket // a power of two long, at most half full
}

// fewTokens is up to how many each is compared with what was presented: two
// comparisons of 200 bytes cost less than the hash of them. Between rotations there
// is one token, and during one there are two.
const fewTokens = 2

// A bucket is half a cache line, and holds the token itself so that the
// comparison need not wait for the entry to come from memory.
type bucket struct {
	hash  uint64
	token string
	entry *tokenEntry
}

type tokenEntry struct {
	principal *verify.Principal
	entry     *rotation.Entry[Token]
	// asked: nothing is accepted without the ledger's entry. What is not so when
	// a ledger is made never is, and of many tokens one saves waiting for it to
	// come from memory.
	asked bool
}

// NewSet returns the set of the tokens that l accepts; source is the
// configured name of where they come from, and their Principals' subject. For
// the nil ledger it returns nil.
func NewSet(l *rotation.Ledger[Token], source string) *Set {
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
		t := &tokenEntry{
			entry: e,
			asked: e.Dated() || e.Opens(),
			principal: verify.NewPrincipal(verify.PrincipalConfig{
				Subject: source, Method: verify.MethodToken, Source: source,
				KeyID: e.Value.Fingerprint(), Slot: e.Slot, Credential: e.ID,
			}),
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
	x.keepFew()
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
}

func (x *index) keepFew() {
	n := 0
	for _, b := range x.table {
		if b.entry == nil {
			continue
		}
		if n == fewTokens {
			return
		}
		x.few[n] = b
		n++
	}
	x.known = n
}

// Verify accepts token if it is in the set and its deadline has not come. The
// deadline is compared with the clock here and now, not by a timer that may be
// late. It allocates nothing, locks nothing and ignores ctx. Its errors are
// the sentinels of this package themselves.
func (s *Set) Verify(_ context.Context, token string) (*verify.Principal, error) {
	if s == nil {
		return nil, verify.ErrUnavailable
	}
	if token == "" {
		return nil, verify.ErrNoToken
	}
	if s.index == nil {
		return nil, verify.ErrInvalidToken
	}
	e := (*s.index).find(token)
	if e == nil {
		var err error
		if e, err = s.unknown(token); err != nil {
			return nil, err
		}
	}
	if e.asked {
		return e.ask()
	}
	return e.principal, nil
}

// ask decides about a token that is the entry's by what the ledger says. The current
// token's path reads no clock, but for the first use after a switch, if a window
// waits for that.
func (e *tokenEntry) ask() (*verify.Principal, error) {
	if (e.entry.Dated() || e.entry.Opens()) && !e.entry.Accept(time.Now()) {
		return nil, verify.ErrExpiredToken
	}
	return e.principal, nil
}

// find returns the entry of token, and nil if there is none. Of a few it looks at
// each, and at a token of another length as long as at one of the same: equal would
// tell the lengths that are accepted.
func (x *index) find(token string) (found *tokenEntry) {
	if x.known == 0 {
		return x.byHash(token)
	}
	for i := range x.known {
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

// unknown looks for a token that is not in the index: one that is accepted and
// whose bytes are not known, or one that was superseded or revoked, as opposed to
// one that never was. Only a token of none of these pays for it all. Hashes are
// compared by a map, in a time that tells of the hash and not of the token.
func (s *Set) unknown(token string) (*tokenEntry, error) {
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

// String returns a text that holds no token.
func (s *Set) String() string {
	if s == nil {
		return "tokens(not loaded)"
	}
	n := len(s.byDigest)
	if s.index != nil {
		for _, b := range (*s.index).table {
			if b.entry != nil {
				n++
			}
		}
	}
	return fmt.Sprintf("tokens(%d)", n)
}

// Format writes String for every verb and flag.
func (s *Set) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, s.String()) }
