// Package jwks reads verification keys: from a file or a directory, with [Parse]
// and [ParseKeys], and from a server, with [Remote].
//
// What it returns are declarations for [rotation.Advance], so that keys rotate
// by the rules by which tokens do. It stands apart from package verify because
// it links net/http.
package jwks

import (
	"slices"
	"strings"

	"github.com/tokenagent/tokenagent/internal/jwt"
	"github.com/tokenagent/tokenagent/internal/rotation"
)

// Keys is what a key source says. A key can be revoked by its kid as well, see
// [verify.Key.RevocableNames].
type Keys struct {
	rotation.Content[jwt.Key]
	// Skipped says which keys of a remote JWKS were left out, and why. It is
	// empty for any other source.
	Skipped []error
}

// ParseOptions tune the parsing of key sources. The zero value is good.
type ParseOptions struct {
	Name string // what errors call the source, such as its path

	// Algorithm is that of keys that name none: PEM, secrets, JWKs without "alg".
	// "" means the one that verify.DefaultAlgorithm gives.
	Algorithm string

	// Remote says that the content came from a server. Then it must be a JWKS,
	// and a key in it that cannot verify signatures here is left out, since an
	// identity provider publishes keys for other purposes too. Left out is also
	// what must not be public: private keys, and secrets.
	Remote bool
}

// The limits of a source.
const (
	maxBytes = 4 << 20 // of each file, or key of a directory
	maxKeys  = 1000
	maxKeyID = 1024 // bytes of a kid; no token with a longer one is accepted
)

// Parse parses the text of a file. It is one of
//
//   - a JSON Web Key Set (RFC 7517 section 5), whose keys are listed;
//   - a JSON Web Key (RFC 7517 section 4), which is current;
//   - PEM (RFC 7468): public keys, certificates, RSA public keys of PKCS #1. The
//     first is current, further ones are listed. Of a certificate its key is
//     taken and nothing else is looked at: not its issuer, nor its dates;
//   - anything else that is one word of printable ASCII: an HMAC secret, which
//     is current. One that has other bytes goes into a JWK of kty oct.
//
// A UTF-8 byte order mark, surrounding white space and CRLF are ignored. A set is
// strict: each key must be one that verifies signatures, with its members in
// their one spelling, and no two have a kid and algorithm, or the key itself, in
// common. x5c, x5t, x5u and members that are not known are ignored.
//
// The error names the source, the line or the key's index, and the mend, and
// quotes nothing.
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

// KeyNames returns the keys that ParseKeys reads.
func KeyNames() []string {
	return []string{KeyJWKS, KeyCurrent, KeyNext, KeyPrevious, KeyPreviousUntil, KeyRevoked, KeyRetired, KeyUnrevoked}
}

// ParseKeys parses the keys of a directory: either jwks.json; or key, with
// key-next, and key-previous with its RFC 3339 deadline key-previous-until, each
// of which holds one verification key in any form that [Parse] takes. Keys that
// it does not know are ignored.
//
// The key revoked has on each line what is not accepted any more:
//
//	THUMBPRINT  a key, by RFC 7638 with SHA-256, in base64url or in hex
//	HEX64       a token, by the SHA-256 of what stands before its last dot
//	kid NAME    all keys and tokens of a name
//	jti ID      a token
//
// with blank lines and lines that begin with # ignored. The key unrevoked has the
// same lines, for what is no longer revoked, and retired has the THUMBPRINT of keys
// that are not accepted any more. Errors are as those of Parse. The well-formed revocations are returned beside them, since they hold
// even where the rest is rejected.
func ParseKeys(keys map[string][]byte, o ParseOptions) (Keys, error) {
	o.Name = strings.TrimSuffix(o.Name, "/")
	p := newParser(o)
	for _, list := range []struct {
		key  string
		into *[]rotation.ID
	}{{KeyRevoked, &p.got.Revoked}, {KeyRetired, &p.got.Retired}, {KeyUnrevoked, &p.got.Unrevoked}} {
		p.key = list.key
		p.identities(keys[list.key], list.into)
	}
	p.key = ""
	set, isSet := keys[KeyJWKS]
	_, isKey := keys[KeyCurrent]
	switch {
	case isSet && slices.ContainsFunc(slots(), func(s slot) bool { _, there := keys[s.key]; return there }):
		p.fault("%s stands beside %s, %s or %s; keep one or the other", KeyJWKS, KeyCurrent, KeyNext, KeyPrevious)
	case isSet:
		p.key = KeyJWKS
		p.content(set, rotation.Current, aSet)
	case !isKey:
		p.fault("no key %s or %s; verification keys stand there", KeyJWKS, KeyCurrent)
	default:
		p.deadline(keys)
		for _, s := range slots() {
			if value, ok := keys[s.key]; ok {
				p.key = s.key
				p.content(value, s.slot, oneKey)
			}
		}
	}
	p.key = ""
	return p.result()
}

// A slot is what stands under a key of a directory.
type slot struct {
	key  string
	slot rotation.Slot
}

func slots() []slot {
	return []slot{{KeyCurrent, rotation.Current}, {KeyNext, rotation.Next}, {KeyPrevious, rotation.Previous}}
}
