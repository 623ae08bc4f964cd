package verify

import (
	"crypto/sha256"
	"encoding/hex"
	"hash"
	"strings"
	"sync"
)

// Digest returns the SHA-256 (FIPS 180-4) of token. The digest is the ID of a shared
// token, by which a source revokes the token. Digest does not allocate, except to fill a
// pool for tokens of more than 512 bytes.
func Digest(token string) ID {
	// Most tokens fit into a buffer on the stack.
	var buf [512]byte
	if len(token) <= len(buf) {
		return sha256.Sum256(buf[:copy(buf[:], token)])
	}
	// A pool, so that callers cannot cause allocations by sending long tokens.
	l := longDigests.Get().(*longDigest) //nolint:forcetypeassert // the pool holds only *longDigest
	defer longDigests.Put(l)
	l.hash.Reset()
	for len(token) > 0 {
		n := copy(l.buf[:], token)
		_, _ = l.hash.Write(l.buf[:n]) // a hash.Hash never returns an error
		token = token[n:]
	}
	return ID(l.hash.Sum(l.buf[:0]))
}

type longDigest struct {
	hash hash.Hash
	buf  [1024]byte
}

var longDigests = sync.Pool{New: func() any { return &longDigest{hash: sha256.New()} }} //nolint:gochecknoglobals // a pool

// Fingerprint returns the first 8 hex digits of id. They tell tokens apart, but reveal
// too little to find a token.
func Fingerprint(id ID) string { return hex.EncodeToString(id[:4]) }

// RevokedKeyID returns the ID that revokes every key with the "kid" kid (RFC 7517 section
// 4.5), and every signed token whose header names this kid (RFC 7515 section 4.1.4).
func RevokedKeyID(kid string) ID { return sha256.Sum256([]byte("kid\x00" + kid)) }

// RevokedTokenID returns the ID that revokes every signed token with the "jti" claim jti
// (RFC 7519 section 4.1.7).
func RevokedTokenID(jti string) ID { return sha256.Sum256([]byte("jti\x00" + jti)) }

// SigningInputDigest returns the ID that revokes a signed token: the SHA-256 of its
// signing input (RFC 7515 section 5.1), which is the part before the last dot. The ID
// leaves out the signature, because anyone can derive a second valid ECDSA signature from
// the first and so evade a digest of the whole token. If token has no dot,
// SigningInputDigest returns Digest(token). It does not validate token.
func SigningInputDigest(token string) ID {
	if i := strings.LastIndexByte(token, '.'); i >= 0 {
		token = token[:i]
	}
	return Digest(token)
}
