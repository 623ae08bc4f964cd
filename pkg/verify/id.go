package verify

import (
	"crypto/sha256"
	"encoding/hex"
	"hash"
	"sync"
)

// Digest returns the SHA-256 of a token, which is its ID in the ledger and
// what a revocation names.
func Digest(token string) ID {
	// A token fits the buffer, so that hashing one allocates nothing.
	var buf [512]byte
	if len(token) <= len(buf) {
		return sha256.Sum256(buf[:copy(buf[:], token)])
	}
	// Whoever sends a longer one must not make us allocate either.
	l := long.Get().(*longDigest) //nolint:forcetypeassert // nothing else is put there
	defer long.Put(l)
	l.hash.Reset()
	for len(token) > 0 {
		n := copy(l.buf[:], token)
		_, _ = l.hash.Write(l.buf[:n]) // never fails; see hash.Hash
		token = token[n:]
	}
	return ID(l.hash.Sum(l.buf[:0]))
}

type longDigest struct {
	hash hash.Hash
	buf  [1024]byte
}

//nolint:gochecknoglobals // a pool
var long = sync.Pool{New: func() any { return &longDigest{hash: sha256.New()} }}

// Fingerprint returns the first 8 hex digits of id: enough to tell tokens
// apart, too little to find one.
func Fingerprint(id ID) string { return hex.EncodeToString(id[:4]) }

// RevokedKeyID returns what to revoke so that every key named kid is refused, and
// every token that names it.
func RevokedKeyID(kid string) ID { return sha256.Sum256([]byte("kid\x00" + kid)) }

// RevokedTokenID returns what to revoke so that tokens with the "jti" (RFC 7519
// section 4.1.7) are refused.
func RevokedTokenID(jti string) ID { return sha256.Sum256([]byte("jti\x00" + jti)) }

// SigningInputDigest returns what to revoke so that the signed token is refused:
// the SHA-256 of what stands before its last dot (RFC 7515 section 5.1). An ECDSA
// signature has a twin that is as good, so a digest of the whole token would not
// hold. It does not check that the token is one.
func SigningInputDigest(token string) ID {
	for i := len(token) - 1; i >= 0; i-- {
		if token[i] == '.' {
			return Digest(token[:i])
		}
	}
	return Digest(token)
}
