package verify

import (
	"crypto/sha256"

	"github.com/tokenagent/tokenagent/pkg/rotation"
)

// A KeySet is the keys that one ledger accepts, in the form in which a
// [JWTVerifier] looks for them. It is immutable and safe for concurrent use. The
// nil KeySet has not been loaded.
type KeySet struct {
	source  string
	ledger  *rotation.Ledger[Key]
	byID    map[rotation.ID]*keyEntry
	byName  map[string][]*keyEntry // by kid
	unnamed map[string][]*keyEntry // by algorithm, those that have no kid
	byAlg   map[string][]*keyEntry
	revokes bool    // something is revoked
	memory  *Memory // gave some of the revoked IDs as names; nil for none
}

type keyEntry struct {
	key   Key
	entry *rotation.Entry[Key]
	dated bool // as in tokenEntry
}

// NewKeySet returns the set of the keys that l accepts; source is the configured
// name of where they come from. For the nil ledger it returns nil.
//
// What l revokes is a key by its RFC 7638 thumbprint, every key and token of a
// name by [RevokedKeyID], a token by [RevokedTokenID] of its "jti", or by
// [SigningInputDigest].
func NewKeySet(l *rotation.Ledger[Key], source string) *KeySet {
	var none *Memory
	return none.NewKeySet(l, source)
}

// NewKeySet is [NewKeySet] for a ledger some of whose revocations are names that
// m gave.
func (m *Memory) NewKeySet(l *rotation.Ledger[Key], source string) *KeySet {
	if l == nil {
		return nil
	}
	s := &KeySet{
		source: source, ledger: l, memory: m,
		byID: make(map[rotation.ID]*keyEntry), byName: make(map[string][]*keyEntry),
		unnamed: make(map[string][]*keyEntry), byAlg: make(map[string][]*keyEntry),
	}
	l.EachRefused(func(_ rotation.ID, revoked bool) { s.revokes = s.revokes || revoked })
	for i := range l.Entries {
		e := &l.Entries[i]
		kid, alg := e.Value.KeyID(), e.Value.Algorithm()
		if kid != "" && s.revoked(RevokedKeyID(kid)) {
			continue
		}
		k := &keyEntry{key: e.Value, entry: e, dated: e.Dated()}
		s.byID[e.ID] = k
		s.byAlg[alg] = append(s.byAlg[alg], k)
		if kid == "" {
			s.unnamed[alg] = append(s.unnamed[alg], k)
		} else {
			s.byName[kid] = append(s.byName[kid], k)
		}
	}
	return s
}

// revoked reports whether id is, be it by its name.
func (s *KeySet) revoked(id rotation.ID) bool {
	return s.revokes && id != rotation.ID{} &&
		(s.ledger.Revoked(id) || s.memory != nil && s.ledger.Revoked(s.memory.Name(id)))
}

// Len returns how many keys there are.
func (s *KeySet) Len() int {
	if s == nil {
		return 0
	}
	return len(s.byID)
}

// maxNameless is how many keys of one algorithm are tried on a token that names
// none. Each try costs a signature check, and whoever sends tokens would choose
// how many we make.
const maxNameless = 8

// candidates returns the keys that may have signed a token with this header.
// A name selects the keys of that name, and those that have none; without a name
// it is all keys of the algorithm. No other algorithm's key is ever among them.
func (s *KeySet) candidates(alg, kid string, named bool) ([]*keyEntry, error) {
	if !named {
		switch all := s.byAlg[alg]; {
		case len(all) == 0:
			return nil, errNoKeyOfAlgorithm
		case len(all) > maxNameless:
			return nil, errNameNeeded
		default:
			return all, nil
		}
	}
	var found []*keyEntry
	for _, k := range s.byName[kid] {
		if k.key.Algorithm() == alg {
			found = append(found, k)
		}
	}
	found = append(found, s.unnamed[alg]...)
	switch {
	case len(found) > maxNameless:
		return nil, errNameNeeded
	case len(found) > 0:
		return found, nil
	case s.revoked(RevokedKeyID(kid)):
		return nil, errRevokedKey
	case len(s.byName[kid]) > 0:
		return nil, errOtherAlgorithm
	default:
		return nil, errUnknownKey
	}
}

// Revoked reports whether what p proved itself by is revoked: its token, by
// digest or jti, or the key that signed it. Of what is no JWT it knows nothing.
func (s *KeySet) Revoked(p *Principal) bool {
	if s == nil || p == nil || p.key == nil {
		return false
	}
	if s.revoked(p.Credential()) || s.revoked(*p.key) || s.revoked(RevokedKeyID(p.keyID)) {
		return true
	}
	jti, ok := p.claims["jti"].(string)
	return ok && s.revoked(RevokedTokenID(jti))
}

// RevokedKeyID returns what to revoke so that every key named kid is refused, and
// every token that names it.
func RevokedKeyID(kid string) rotation.ID { return sha256.Sum256([]byte("kid\x00" + kid)) }

// RevokedTokenID returns what to revoke so that tokens with the "jti" (RFC 7519
// section 4.1.7) are refused.
func RevokedTokenID(jti string) rotation.ID { return sha256.Sum256([]byte("jti\x00" + jti)) }

// SigningInputDigest returns what to revoke so that the signed token is refused:
// the SHA-256 of what stands before its last dot (RFC 7515 section 5.1). An ECDSA
// signature has a twin that is as good, so a digest of the whole token would not
// hold. It does not check that the token is one.
func SigningInputDigest(token string) rotation.ID {
	for i := len(token) - 1; i >= 0; i-- {
		if token[i] == '.' {
			return Digest(token[:i])
		}
	}
	return Digest(token)
}
