package verify

import (
	"crypto/hmac"
	"crypto/sha256"
	"fmt"
	"hash"
	"io"
	"sync"

	"github.com/tokenagent/tokenagent/pkg/rotation"
)

// A Memory knows tokens again by salted HMACs, so that they can be written down
// without being given away: HMAC-SHA256 (RFC 2104) of the token's SHA-256, under
// a key that is random for each file they are written to. It is immutable and
// safe for concurrent use. The nil Memory knows nothing.
type Memory struct {
	key    **[]byte // so that no verb of fmt gets to it, as in Token
	hashes *sync.Pool
}

// MemoryKeyBytes is how long the key of a Memory is.
const MemoryKeyBytes = sha256.Size

// NewMemory returns the Memory with the given key, which is copied.
func NewMemory(key [MemoryKeyBytes]byte) *Memory {
	k := key[:]
	p := &k
	return &Memory{key: &p, hashes: &sync.Pool{New: func() any { return &keyed{hash: hmac.New(sha256.New, k)} }}}
}

// A keyed hash has room for its sums, so that making one allocates nothing.
type keyed struct {
	hash hash.Hash
	buf  [sha256.Size]byte
}

// Name returns the name under which m knows the token with the SHA-256 id.
func (m *Memory) Name(id rotation.ID) rotation.ID {
	h := m.hashes.Get().(*keyed) //nolint:forcetypeassert // nothing else is put there
	defer m.hashes.Put(h)
	h.hash.Reset()
	h.buf = id
	_, _ = h.hash.Write(h.buf[:]) // never fails; see hash.Hash
	return rotation.ID(h.hash.Sum(h.buf[:0]))
}

// Token returns a token whose bytes are not known, only the name under which m
// knows it, which is its ID, and its fingerprint.
func (m *Memory) Token(name rotation.ID, fingerprint string) Token {
	s := &secret{id: name, fingerprint: fingerprint}
	return Token{&s}
}

// NewTokenSet is [NewTokenSet] for a ledger some of whose IDs are names that m
// gave. A presented token that the set does not have is looked for under its
// name, too.
func (m *Memory) NewTokenSet(l *rotation.Ledger[Token], source string) *TokenSet {
	s := NewTokenSet(l, source)
	if s != nil {
		s.memory = m
	}
	return s
}

// String returns a text that holds no key.
func (*Memory) String() string { return "memory" }

// Format writes String for every verb and flag.
func (m *Memory) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, m.String()) }
