package jwt

import (
	"slices"
	"time"

	"github.com/tokenagent/tokenagent/internal/rotation"
	"github.com/tokenagent/tokenagent/pkg/verify"
)

// A KeySet holds the keys that one ledger accepts, indexed for a [Verifier]. It is
// immutable and safe for concurrent use. The nil KeySet is not loaded yet.
type KeySet struct {
	source  string
	mark    *byte // identifies the set; a pointer to it does not keep the set alive
	ledger  *rotation.Ledger[Key]
	byID    map[rotation.ID][]*keyEntry // one entry for each kid and algorithm of a key
	byName  map[string][]*keyEntry      // by kid
	unnamed map[string][]*keyEntry      // keys without a kid, by algorithm
	byAlg   map[string][]*keyEntry      // by algorithm, each key once
	gone    []goneKey                   // keys of earlier sets that are no longer accepted, the latest last
	revokes bool                        // whether the ledger holds any revocation
}

type keyEntry struct {
	key   Key
	entry *rotation.Entry[Key] // a copy, so that the ledger can be freed
}

// A goneKey is a key that is no longer accepted. It gives the reason to refuse a token
// that names the key.
type goneKey struct {
	id       rotation.ID
	alg, kid string
	why      error
}

// maxGone bounds the number of gone keys.
const maxGone = 256

// NewKeySet returns the set of the keys that l accepts. The argument source is the
// configured name of the key source. If l is nil, NewKeySet returns nil.
//
// The revocations of l refuse a key by its RFC 7638 thumbprint, all tokens that name a
// kid by [verify.RevokedKeyID], and a single token by the [verify.RevokedTokenID] of its
// "jti" or by its [verify.SigningInputDigest].
func NewKeySet(l *rotation.Ledger[Key], source string) *KeySet {
	return NextKeySet(l, source, nil, nil)
}

// NextKeySet is like [NewKeySet] for the set that follows before, where declared lists
// the keys that the source just declared. Either may be nil. They serve only to explain
// refusals.
func NextKeySet(l *rotation.Ledger[Key], source string, before *KeySet, declared []rotation.Decl[Key]) *KeySet {
	if l == nil {
		return nil
	}
	s := &KeySet{
		source: source, ledger: l, mark: new(byte),
		byID: make(map[rotation.ID][]*keyEntry), byName: make(map[string][]*keyEntry),
		unnamed: make(map[string][]*keyEntry), byAlg: make(map[string][]*keyEntry),
	}
	l.EachRefused(func(_ rotation.ID, revoked bool) { s.revokes = s.revokes || revoked })
	for _, e := range l.Entries { // current, next, previous, listed
		for _, key := range e.Value.Names() {
			kid, alg := key.KeyID(), key.Algorithm()
			k := &keyEntry{key: key, entry: &e}
			s.byID[e.ID] = append(s.byID[e.ID], k)
			// Add a key with several kids only once: a second try gives the same result.
			if same := s.byAlg[alg]; len(same) == 0 || same[len(same)-1].key.ID() != e.ID {
				s.byAlg[alg] = append(s.byAlg[alg], k)
			}
			if kid == "" {
				s.unnamed[alg] = append(s.unnamed[alg], k)
			} else {
				s.byName[kid] = append(s.byName[kid], k)
			}
		}
	}
	s.recall(before, declared)
	return s
}

// recall collects the keys that are no longer accepted and that the ledger knows as
// revoked or ended.
func (s *KeySet) recall(before *KeySet, declared []rotation.Decl[Key]) {
	var all []goneKey
	if before != nil {
		all = append(all, before.gone...)
		for id, keys := range before.byID {
			for _, k := range keys {
				all = append(all, goneKey{id: id, alg: k.key.Algorithm(), kid: k.key.KeyID()})
			}
		}
	}
	for _, d := range declared {
		for _, k := range d.Value.Names() {
			all = append(all, goneKey{id: d.ID, alg: k.Algorithm(), kid: k.KeyID()})
		}
	}
	seen := make(map[goneKey]bool)
	for _, g := range all {
		g.why = nil
		as := g
		switch {
		case seen[as] || s.byID[g.id] != nil:
			continue
		case s.revoked(g.id):
			g.why = errRevokedKey
		case s.ledger.Ended(g.id):
			g.why = errKeyExpired
		default:
			continue
		}
		seen[as] = true
		s.gone = append(s.gone, g)
	}
	s.gone = s.gone[max(0, len(s.gone)-maxGone):]
}

// revoked reports whether id is revoked. The zero ID is never revoked.
func (s *KeySet) revoked(id rotation.ID) bool {
	return s.revokes && id != rotation.ID{} && s.ledger.Revoked(id)
}

// find returns the entry of the key with the kid and algorithm of like, or nil if the set
// does not contain it.
func (s *KeySet) find(like Key) *keyEntry {
	for _, k := range s.byID[like.ID()] {
		if k.key.Algorithm() == like.Algorithm() && k.key.KeyID() == like.KeyID() {
			return k
		}
	}
	return nil
}

// Len returns the number of keys. It returns 0 for the nil KeySet.
func (s *KeySet) Len() int {
	if s == nil {
		return 0
	}
	return len(s.byID)
}

// maxTried bounds the number of keys that are tried on one token. Each try costs a
// signature check, and senders choose how many tokens they send.
const maxTried = 8

// candidates returns at most maxTried keys that may have signed a token with this header,
// best first. If the token has a kid, the candidates are the keys with this kid, and then
// the keys without one. Otherwise they are all keys of the algorithm. A key of another
// algorithm, or a key whose overlap has ended, is never a candidate.
func (s *KeySet) candidates(alg, kid string, named bool, now time.Time) ([]*keyEntry, error) {
	var found []*keyEntry
	take := func(keys []*keyEntry) {
		for _, k := range keys {
			again := func(f *keyEntry) bool { return f.key.ID() == k.key.ID() } // the key is also listed without a kid
			if len(found) < maxTried && k.key.Algorithm() == alg && k.entry.Live(now) && !slices.ContainsFunc(found, again) {
				found = append(found, k)
			}
		}
	}
	if named {
		take(s.byName[kid])
		take(s.unnamed[alg])
	} else {
		take(s.byAlg[alg])
	}
	if len(found) > 0 {
		return found, nil
	}
	return nil, s.without(alg, kid, named)
}

// without returns the reason why there is no key for a token.
func (s *KeySet) without(alg, kid string, named bool) error {
	if named && s.revoked(verify.RevokedKeyID(kid)) {
		return errRevokedKey
	}
	for _, k := range s.byAlg[alg] { // their overlap has ended since the set was built
		if !named || k.key.KeyID() == kid || k.key.KeyID() == "" {
			return errKeyExpired
		}
	}
	for i := len(s.gone) - 1; i >= 0; i-- {
		if g := &s.gone[i]; g.alg == alg && (!named || g.kid == kid || g.kid == "") {
			return g.why
		}
	}
	switch {
	case !named:
		return errNoKeyOfAlgorithm
	case len(s.byName[kid]) > 0:
		return errOtherAlgorithm
	default:
		return errUnknownKey
	}
}

// Untried returns how many keys of one algorithm exceed the number of keys that are tried
// on a token without a kid. It returns the maximum over all algorithms, and 0 for the nil
// KeySet.
func (s *KeySet) Untried() (n int) {
	if s == nil {
		return 0
	}
	for _, keys := range s.byAlg {
		n = max(n, len(keys)-maxTried)
	}
	return n
}

// Revoked reports whether the credential of p is revoked: its token, by digest or jti, or
// the key that signed the token. Revoked returns false if p was not authenticated by a
// JWT, and for the nil KeySet.
func (s *KeySet) Revoked(p *verify.Principal) bool {
	return s != nil && slices.ContainsFunc(p.RevocableBy(), s.revoked)
}
