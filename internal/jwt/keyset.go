package jwt

import (
	"slices"
	"time"

	"github.com/tokenagent/tokenagent/internal/rotation"
	"github.com/tokenagent/tokenagent/pkg/verify"
)

// A KeySet is the keys that one ledger accepts, in the form in which a
// [Verifier] looks for them. It is immutable and safe for concurrent use. The
// nil KeySet has not been loaded.
type KeySet struct {
	source  string
	mark    *byte // of this set and no other; what holds it holds nothing else
	ledger  *rotation.Ledger[Key]
	byID    map[rotation.ID][]*keyEntry // one for each kid and algorithm of the key
	byName  map[string][]*keyEntry      // by kid
	unnamed map[string][]*keyEntry      // by algorithm, those that have no kid
	byAlg   map[string][]*keyEntry
	gone    []goneKey // of this set's predecessors, the latest last
	revokes bool      // something is revoked
}

type keyEntry struct {
	key   Key
	entry *rotation.Entry[Key] // a copy: its ledger may go
}

// A goneKey is one that is accepted no more, so that its tokens can be told from
// those of nobody.
type goneKey struct {
	id       rotation.ID
	alg, kid string
	why      error
}

// maxGone bounds how many of them are known.
const maxGone = 256

// NewKeySet returns the set of the keys that l accepts; source is the configured
// name of where they come from. For the nil ledger it returns nil.
//
// What l revokes is a key by its RFC 7638 thumbprint, every token that names a key
// by [RevokedKeyID], a token by [RevokedTokenID] of its "jti", or by
// [SigningInputDigest].
func NewKeySet(l *rotation.Ledger[Key], source string) *KeySet {
	return NextKeySet(l, source, nil, nil)
}

// NextKeySet is [NewKeySet] for a set that follows before, made of the keys
// declared, which were just read; either may be nil. They are only remembered for
// the words of refusals.
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
			// Under a second kid it is the same key: trying it again is no use.
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

// recall gathers the keys that are gone and still known to the ledger.
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

// revoked reports whether id is.
func (s *KeySet) revoked(id rotation.ID) bool {
	return s.revokes && id != rotation.ID{} && s.ledger.Revoked(id)
}

// find returns the entry of the key under the kid and algorithm of like, and nil
// where there is none any more.
func (s *KeySet) find(like Key) *keyEntry {
	for _, k := range s.byID[like.ID()] {
		if k.key.Algorithm() == like.Algorithm() && k.key.KeyID() == like.KeyID() {
			return k
		}
	}
	return nil
}

// Len returns how many keys there are.
func (s *KeySet) Len() int {
	if s == nil {
		return 0
	}
	return len(s.byID)
}

// maxTried is how many keys are tried on one token. Each try costs a signature
// check, and whoever sends tokens would choose how many we make.
const maxTried = 8

// candidates returns the keys that may have signed a token with this header, best
// first. A name selects the keys of that name, and those that have none; without a
// name it is all keys of the algorithm. No other algorithm's key is ever among
// them, nor one whose overlap has ended.
func (s *KeySet) candidates(alg, kid string, named bool, now time.Time) ([]*keyEntry, error) {
	var found []*keyEntry
	take := func(keys []*keyEntry) {
		for _, k := range keys {
			again := func(f *keyEntry) bool { return f.key.ID() == k.key.ID() } // it has no kid as well
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

// without says why there is no key for a token.
func (s *KeySet) without(alg, kid string, named bool) error {
	if named && s.revoked(verify.RevokedKeyID(kid)) {
		return errRevokedKey
	}
	for _, k := range s.byAlg[alg] { // those whose overlap has ended since
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

// Untried returns for how many keys there is no room among those that are tried
// on a token which names none: the worst of all algorithms.
func (s *KeySet) Untried() (n int) {
	if s == nil {
		return 0
	}
	for _, keys := range s.byAlg {
		n = max(n, len(keys)-maxTried)
	}
	return n
}

// Revoked reports whether what p proved itself by is revoked: its token, by
// digest or jti, or the key that signed it. Of what is no JWT it knows nothing.
func (s *KeySet) Revoked(p *verify.Principal) bool {
	return s != nil && slices.ContainsFunc(p.RevocableBy(), s.revoked)
}
