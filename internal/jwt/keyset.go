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
	byName  map[string][]*keyEntry      // by kid; "" for keys without one
	byAlg   map[string][]*keyEntry      // by algorithm, each key once
	gone    []goneKey                   // keys of earlier sets that are no longer accepted, the latest last
	revokes bool                        // whether the ledger holds any revocation
}

type keyEntry struct {
	key   Key
	name  rotation.ID          // the ID that revokes the kid of key
	entry *rotation.Entry[Key] // a copy, so that the ledger can be freed
}

// A goneKey is one name of a key that is revoked, or was superseded and has ended. It
// gives the reason to refuse a token that names the key.
type goneKey struct {
	id       rotation.ID
	alg, kid string
}

// maxGone bounds the number of gone keys.
const maxGone = 256

// NewKeySet returns the set of the keys that l accepts, or nil if l is nil. The argument
// source is the configured name of the key source. The set before and the keys that the
// source just declared explain refusals; both may be nil.
//
// The revocations of l refuse a key by its RFC 7638 thumbprint, all tokens that name a
// kid by [verify.RevokedKeyID], and a single token by the [verify.RevokedTokenID] of its
// "jti" or by its [verify.SigningInputDigest].
func NewKeySet(l *rotation.Ledger[Key], source string, before *KeySet, declared []rotation.Decl[Key]) *KeySet {
	if l == nil {
		return nil
	}
	s := &KeySet{
		source: source, ledger: l, mark: new(byte),
		byID: make(map[rotation.ID][]*keyEntry), byName: make(map[string][]*keyEntry), byAlg: make(map[string][]*keyEntry),
	}
	l.EachRefused(func(_ rotation.ID, revoked bool) { s.revokes = s.revokes || revoked })
	for _, e := range l.Entries { // current, next, previous, listed
		for _, key := range e.Value.Names() {
			kid, alg := key.KeyID(), key.Algorithm()
			k := &keyEntry{key: key, name: verify.RevokedKeyID(kid), entry: &e}
			s.byID[e.ID] = append(s.byID[e.ID], k)
			s.byName[kid] = append(s.byName[kid], k)
			// Add a key with several kids only once: a second try gives the same result.
			if same := s.byAlg[alg]; len(same) == 0 || same[len(same)-1].key.ID() != e.ID {
				s.byAlg[alg] = append(s.byAlg[alg], k)
			}
		}
	}
	s.recall(before, declared)
	return s
}

// recall collects the keys of before and declared that are gone.
func (s *KeySet) recall(before *KeySet, declared []rotation.Decl[Key]) {
	var all []goneKey
	add := func(k Key) {
		for _, named := range k.Names() {
			all = append(all, goneKey{k.ID(), named.Algorithm(), named.KeyID()})
		}
	}
	if before != nil {
		all = append(all, before.gone...)
		for _, e := range before.ledger.Entries {
			add(e.Value)
		}
	}
	for _, d := range declared {
		add(d.Value)
	}
	seen := make(map[goneKey]bool)
	for _, g := range all {
		if !seen[g] && s.byID[g.id] == nil && (s.revoked(g.id) || s.ledger.Ended(g.id)) {
			seen[g] = true
			s.gone = append(s.gone, g)
		}
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

// MaxTried bounds the number of keys that are tried on one token. Each try costs a
// signature check, and senders choose how many tokens they send.
const MaxTried = 8

// candidates returns at most MaxTried keys that may have signed j, best first. If j has a
// kid, the candidates are the keys with this kid, and then the keys without one.
// Otherwise they are all keys of the algorithm. A key of another algorithm, or a key
// whose overlap has ended, is never a candidate.
func (s *KeySet) candidates(j *jws, now time.Time) (found []*keyEntry, err error) {
	keys := [][]*keyEntry{s.byAlg[j.alg]}
	if j.named {
		keys = [][]*keyEntry{s.byName[j.kid], s.byName[""]}
	}
	for _, list := range keys {
		for _, k := range list {
			again := func(f *keyEntry) bool { return f.key.ID() == k.key.ID() } // the key is also listed without a kid
			if len(found) < MaxTried && k.key.Algorithm() == j.alg && k.entry.Live(now) && !slices.ContainsFunc(found, again) {
				found = append(found, k)
			}
		}
	}
	if len(found) == 0 {
		return nil, s.without(j)
	}
	return found, nil
}

// without returns the reason why there is no key for j.
func (s *KeySet) without(j *jws) error {
	fits := func(kid string) bool { return !j.named || kid == j.kid || kid == "" }
	if j.named && s.revoked(verify.RevokedKeyID(j.kid)) {
		return errRevokedKey
	}
	for _, k := range s.byAlg[j.alg] { // their overlap has ended since the set was built
		if fits(k.key.KeyID()) {
			return errKeyExpired
		}
	}
	for _, g := range slices.Backward(s.gone) {
		switch {
		case g.alg != j.alg || !fits(g.kid):
		case s.revoked(g.id):
			return errRevokedKey
		default:
			return errKeyExpired
		}
	}
	switch {
	case !j.named:
		return errNoKeyOfAlgorithm
	case j.kid != "" && len(s.byName[j.kid]) > 0:
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
		n = max(n, len(keys)-MaxTried)
	}
	return n
}
