// Package jwks loads verification keys: from a file or a directory with [Parse] and
// [ParseKeys], and from a server with [Remote].
//
// The package returns declarations for [rotation.Advance], so keys rotate by the same
// rules as shared tokens. It is separate from package jwt because it links net/http.
package jwks

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"slices"
	"strings"

	"github.com/tokenagent/tokenagent/internal/jwt"
	"github.com/tokenagent/tokenagent/internal/rotation"
	"github.com/tokenagent/tokenagent/pkg/verify"
)

// Keys is the content of a key source. The kid of a key revokes the key, too; see
// [jwt.Key.RevocableNames].
type Keys struct {
	rotation.Content[jwt.Key]
	// Skipped holds one error for each key of a remote JWKS that was left out. It is
	// empty for other sources.
	Skipped []error
}

// ParseOptions configure the parsing of key sources. The zero ParseOptions are valid.
type ParseOptions struct {
	Name string // name of the source in errors, such as its path

	// Algorithm is the algorithm of keys that do not specify one: PEM, secrets, and JWKs
	// without "alg". "" means the default of [jwt.KeyConfig].
	Algorithm string

	// TrustDomain is the name of a SPIFFE trust domain. If it is set, Parse uses only the
	// keys of JWT-SVIDs of this trust domain. "" means that the keys are not those of a
	// trust domain.
	TrustDomain string

	// Remote means that the content came from a server. The content must then be a JWKS.
	// Keys that cannot verify signatures here are skipped, because an identity provider
	// also publishes keys for other purposes. Private keys and secrets, which must not be
	// public, are skipped, too.
	Remote bool
}

// The limits of a source.
const (
	maxBytes = 4 << 20 // bytes of a file, or of a key of a directory
	maxKeys  = 1000
)

// Parse parses the text of a file, which has one of these forms:
//
//   - A JSON Web Key Set (RFC 7517 section 5). Its keys are listed.
//   - A JSON Web Key (RFC 7517 section 4). The key is current.
//   - PEM (RFC 7468) with public keys, certificates or PKCS #1 RSA public keys. The first
//     key is current, and the others are listed. Parse uses only the key of a certificate
//     and ignores its issuer and its dates.
//   - With ParseOptions.TrustDomain, a SPIFFE bundle (SPIFFE Trust Domain and Bundle
//     section 4), or the file of spiffe-helper, which has the bundles of several trust
//     domains. The keys for JWT-SVIDs are listed, and other keys ignored.
//   - Any other single word of printable ASCII, which is an HMAC secret. The secret is
//     current. A secret with other bytes must be a JWK of kty oct.
//
// Parse ignores a UTF-8 byte order mark, surrounding white space and CRLF. Each key of a
// set must verify signatures, and two keys must not share a kid and algorithm. Parse
// ignores x5c, x5t, x5u, unknown and empty members, and keys that the set repeats.
//
// The error names the source and the line or the index of the key, says how to fix the
// source, and never quotes the text.
func Parse(text []byte, o ParseOptions) (Keys, error) {
	p := newParser(o)
	p.content(text, rotation.Current, anything)
	return p.result()
}

// The keys of a directory source, such as a mounted Kubernetes Secret.
const (
	KeyJWKS          = "jwks.json"
	KeyCurrent       = "key"
	KeyNext          = "key-next"
	KeyPrevious      = "key-previous"
	KeyPreviousUntil = "key-previous-until"
	KeyRevoked       = "revoked"
	KeyRetired       = "retired"
	KeyUnrevoked     = "unrevoked"
)

// KeyNames returns the names of the keys that ParseKeys reads, in a new slice.
func KeyNames() []string {
	return []string{KeyJWKS, KeyCurrent, KeyNext, KeyPrevious, KeyPreviousUntil, KeyRevoked, KeyRetired, KeyUnrevoked}
}

// ParseKeys parses the keys of a directory. The directory has either jwks.json, or key
// with the optional key-next and key-previous. The optional key-previous-until is the RFC
// 3339 deadline of key-previous. Each of key, key-next and key-previous holds one
// verification key in any form that [Parse] accepts. ParseKeys ignores unknown keys of
// the directory.
//
// Each line of the key revoked names a revoked key or token:
//
//	THUMBPRINT  a key, by RFC 7638 with SHA-256, in base64url or in hexadecimal
//	HEX64       a token, by the SHA-256 of the part before its last dot
//	kid NAME    all keys and tokens with this kid
//	jti ID      a token
//
// Blank lines and lines that begin with # are ignored. The key unrevoked has the same
// lines, for revocations that the source lifts. The key retired lists the THUMBPRINT of
// each key that is no longer accepted.
//
// ParseKeys returns errors as Parse does. Together with an error, it returns the
// well-formed revocations, because they hold even if the rest is rejected.
func ParseKeys(keys map[string][]byte, o ParseOptions) (Keys, error) {
	o.Name = strings.TrimSuffix(o.Name, "/")
	p := newParser(o)
	p.ids(KeyRevoked, keys, &p.got.Revoked)
	p.ids(KeyRetired, keys, &p.got.Retired)
	p.ids(KeyUnrevoked, keys, &p.got.Unrevoked)
	set, isSet := keys[KeyJWKS]
	_, isKey := keys[KeyCurrent]
	has := func(key string) bool { _, ok := keys[key]; return ok }
	switch {
	case isSet && slices.ContainsFunc([]string{KeyCurrent, KeyNext, KeyPrevious}, has):
		p.fail("there is %s, and also %s, %s or %s; keep one or the other", KeyJWKS, KeyCurrent, KeyNext, KeyPrevious)
	case isSet:
		p.key = KeyJWKS
		p.content(set, rotation.Current, aSet)
	case !isKey:
		p.fail("no key %s or %s; put verification keys there", KeyJWKS, KeyCurrent)
	default:
		p.deadline(keys)
		for _, s := range []struct {
			key  string
			slot rotation.Slot
		}{{KeyCurrent, rotation.Current}, {KeyNext, rotation.Next}, {KeyPrevious, rotation.Previous}} {
			if value, ok := keys[s.key]; ok {
				p.key = s.key
				p.content(value, s.slot, oneKey)
			}
		}
	}
	return p.result()
}

// deadline parses the deadline of key-previous.
func (p *parser) deadline(keys map[string][]byte) {
	value, ok := keys[KeyPreviousUntil]
	if _, previous := keys[KeyPrevious]; !ok || !previous {
		return
	}
	p.key = KeyPreviousUntil
	var err error
	if p.until, err = rotation.ParseDeadline(strings.Trim(strings.TrimPrefix(string(value), bom), white)); err != nil {
		p.fail("%v", err)
	}
}

// ids parses the lines of one of the keys revoked, retired and unrevoked.
func (p *parser) ids(key string, keys map[string][]byte, into *[]rotation.ID) {
	p.key = key
	for text := range bytes.Lines(bytes.TrimPrefix(keys[key], []byte(bom))) {
		p.line++
		line := strings.Trim(string(text), white)
		if line == "" || line[0] == '#' {
			continue
		}
		if rest, ok := strings.CutPrefix(line, key); ok && strings.IndexAny(rest, white) == 0 { // accept the form of a token file, too
			line = strings.TrimLeft(rest, white)
		}
		id, ok := parseID(line)
		switch {
		case key == KeyRetired && (!ok || strings.ContainsAny(line, white)):
			p.fail("a retirement is the thumbprint of a key in 64 hex digits or 43 of base64url; this line is not one")
		case !ok:
			p.fail("a revocation is a thumbprint or digest in 64 hex digits or 43 of base64url, kid NAME or jti ID; this line is not one")
		default:
			*into = append(*into, id)
		}
	}
	p.key, p.line = "", 0
}

func parseID(line string) (id rotation.ID, ok bool) {
	// A kid or jti may contain spaces: it is all text after the first white space.
	if i := strings.IndexAny(line, white); i >= 0 {
		rest := strings.Trim(line[i:], white)
		switch line[:i] {
		case "kid":
			return verify.RevokedKeyID(rest), true
		case "jti":
			return verify.RevokedTokenID(rest), true
		}
		return id, false
	}
	decode := base64.RawURLEncoding.Strict().DecodeString
	if len(line) == hex.EncodedLen(len(id)) {
		decode = hex.DecodeString
	}
	b, err := decode(line)
	if err != nil || len(b) != len(id) {
		return id, false
	}
	return rotation.ID(b), true
}
