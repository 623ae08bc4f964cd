package jwt

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/big"
	"slices"
	"strings"

	"github.com/golang-jwt/jwt/v5"

	"github.com/tokenagent/tokenagent/internal/rotation"
	"github.com/tokenagent/tokenagent/pkg/verify"
)

// A Key verifies signatures of one algorithm. The algorithm of a token selects among
// keys, but never changes how a key is used, so that a public key cannot serve as an HMAC
// secret. A Key is immutable and safe for concurrent use. It reveals no secret under any
// verb of fmt. The zero Key verifies nothing.
type Key struct {
	k **key // fmt never follows a pointer to a pointer
}

type key struct {
	id     rotation.ID
	kid    string
	method jwt.SigningMethod
	also   []Key // the same key with other kids or algorithms; see Also
	public any   // the key for method.Verify: []byte, *rsa.PublicKey, *ecdsa.PublicKey or ed25519.PublicKey
}

// A KeyConfig holds the parts of a new Key. Material is required.
type KeyConfig struct {
	// KeyID is the kid of the key. A token selects the key by its header "kid" (RFC 7515
	// section 4.1.4). A key without KeyID verifies tokens of its algorithm with any kid.
	KeyID string
	// Algorithm is one of Algorithms. "" means HS256 for a secret, RS256 for an RSA key
	// (the default of OpenID Connect Core section 2), and the algorithm of the curve for
	// other keys.
	Algorithm string
	// Material is an *rsa.PublicKey of 2048 to 8192 bits, an *ecdsa.PublicKey on the
	// curve of the algorithm, an ed25519.PublicKey, or the []byte of an HMAC secret at
	// least as long as the hash (RFC 7518 section 3.2). NewKey does not copy it, so do
	// not modify it afterwards.
	Material any
}

// Algorithms returns the supported signature algorithms in a new slice (RFC 7518 section
// 3.1, RFC 8037 section 3.1, RFC 9864 section 2.2). "none" is not supported.
func Algorithms() []string {
	return []string{
		"HS256", "HS384", "HS512", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512",
		"ES256", "ES384", "ES512", "EdDSA", "Ed25519",
	}
}

// CanonicalAlgorithm returns "EdDSA" for "Ed25519", which is its newer name (RFC 9864),
// and alg otherwise.
func CanonicalAlgorithm(alg string) string {
	if alg == "Ed25519" {
		return "EdDSA"
	}
	return alg
}

// algorithmsOf returns the algorithms that material can verify, the default first. It
// returns nil if material is not a supported verification key.
func algorithmsOf(material any) []string {
	switch m := material.(type) {
	case []byte:
		return []string{"HS256", "HS384", "HS512"}
	case *rsa.PublicKey:
		if m != nil && m.N != nil {
			return []string{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"}
		}
	case ed25519.PublicKey:
		return []string{"EdDSA", "Ed25519"}
	case *ecdsa.PublicKey:
		if m == nil {
			return nil
		}
		switch m.Curve {
		case elliptic.P256():
			return []string{"ES256"}
		case elliptic.P384():
			return []string{"ES384"}
		case elliptic.P521():
			return []string{"ES512"}
		}
	}
	return nil
}

// signingMethod returns the method that verifies signatures of the algorithm. golang-jwt
// accepts an RSASSA-PSS salt of any length, but RFC 7518 section 3.5 requires a salt as
// long as the hash.
func signingMethod(alg string) jwt.SigningMethod {
	method := jwt.GetSigningMethod(alg)
	if pss, ok := method.(*jwt.SigningMethodRSAPSS); ok {
		strict := *pss
		strict.VerifyOptions = &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash}
		return &strict
	}
	return method
}

// NewKey returns the Key that c describes. The error says what is wrong and how to fix
// it. It quotes neither the key nor its kid.
func NewKey(c KeyConfig) (Key, error) {
	if _, private := c.Material.(crypto.Signer); private {
		return Key{}, errors.New("a private key, which signs; give the public key alone (openssl pkey -pubout)")
	}
	// golang-jwt accepts a key on any curve whose signatures have the right length.
	fits := algorithmsOf(c.Material)
	alg := c.Algorithm
	switch {
	case alg != "" && !slices.Contains(Algorithms(), alg):
		return Key{}, errors.New("an algorithm that is none of HS, RS, PS or ES with 256, 384 or 512, EdDSA or Ed25519")
	case fits == nil:
		return Key{}, errors.New("no key of a kind that verifies signatures; RSA, EC P-256, P-384, P-521, Ed25519 or an HMAC secret does")
	case alg == "":
		alg = fits[0]
	case !slices.Contains(fits, alg):
		return Key{}, fmt.Errorf("a key that does not fit its algorithm %s; it is for %s", alg, strings.Join(fits, ", "))
	}
	method := signingMethod(CanonicalAlgorithm(alg))
	if err := checkStrength(c.Material, method); err != nil {
		return Key{}, err
	}
	// The thumbprint is the hash of the members as JSON, in lexicographic order and
	// without white space (RFC 7638 section 3). encoding/json writes them so.
	text, _ := json.Marshal(Members(c.Material)) // strings can be marshaled
	k := &key{id: sha256.Sum256(text), kid: c.KeyID, method: method, public: c.Material}
	return Key{&k}, nil
}

const (
	minRSABits = 2048
	maxRSABits = 8192 // a longer key would let senders of tokens cause too much work
)

// checkStrength returns an error if signatures of the key could be forged, or if
// verifying them takes too much work.
func checkStrength(material any, method jwt.SigningMethod) error {
	switch m := material.(type) {
	case []byte:
		// golang-jwt accepts a key of any length, even an empty one.
		if hmac, ok := method.(*jwt.SigningMethodHMAC); ok && len(m) < hmac.Hash.Size() {
			return fmt.Errorf("an HMAC secret of %d bytes; %s needs at least %d (RFC 7518 section 3.2)", len(m), hmac.Alg(), hmac.Hash.Size())
		}
	case *rsa.PublicKey:
		switch bits := m.N.BitLen(); {
		case bits < minRSABits:
			return fmt.Errorf("an RSA key of %d bits; it takes at least %d (RFC 7518 section 3.3)", bits, minRSABits)
		case bits > maxRSABits:
			return fmt.Errorf("an RSA key of %d bits; at most %d, since verifying costs with its length", bits, maxRSABits)
		case m.N.Bit(0) == 0 || m.E < 3 || m.E&1 == 0:
			return errors.New("an RSA key with an even modulus, or an exponent that is even or below 3; make another")
		}
	case *ecdsa.PublicKey:
		if _, err := m.Bytes(); err != nil {
			return errors.New("an EC key that is no point on its curve; make another")
		}
	case ed25519.PublicKey:
		if len(m) != ed25519.PublicKeySize {
			return errors.New("an Ed25519 key that is not 32 bytes long")
		}
		y := slices.Clone(m)
		y[31] &= 0x7f // clear the sign bit of x
		if slices.Contains(smallOrder(), hex.EncodeToString(y)) {
			return errors.New("an Ed25519 key of small order, for which anybody can sign; make another")
		}
	}
	return nil
}

// smallOrder returns the y coordinates of the Ed25519 points whose order is at most 8, in
// each encoding that crypto/ed25519 accepts. Anybody can sign for such a key, and RFC 8032
// section 5.1.7 leaves it to the caller to refuse it.
func smallOrder() []string {
	return []string{
		"0100000000000000000000000000000000000000000000000000000000000000", // order 1
		"eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f", // order 1, as p+1
		"ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f", // order 2
		"0000000000000000000000000000000000000000000000000000000000000000", // order 4
		"edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f", // order 4, as p
		"26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05", // order 8
		"c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a", // order 8
	}
}

// Members returns the members of the JWK of a verification key that the thumbprint
// consists of, in their one spelling (RFC 7518 section 6, RFC 8037 section 2).
func Members(material any) map[string]string {
	b64 := base64.RawURLEncoding.EncodeToString
	switch m := material.(type) {
	case []byte:
		return map[string]string{"kty": "oct", "k": b64(m)}
	case *rsa.PublicKey:
		return map[string]string{"kty": "RSA", "n": b64(m.N.Bytes()), "e": b64(big.NewInt(int64(m.E)).Bytes())}
	case *ecdsa.PublicKey:
		point, _ := m.Bytes() // SEC 1 section 2.3.3, uncompressed: 4, x, y
		x, y := point[1:1+len(point)/2], point[1+len(point)/2:]
		return map[string]string{"kty": "EC", "crv": m.Params().Name, "x": b64(x), "y": b64(y)}
	case ed25519.PublicKey:
		return map[string]string{"kty": "OKP", "crv": "Ed25519", "x": b64(m)}
	default:
		return nil
	}
}

// data returns the fields of k.
func (k Key) data() *key {
	if k.k == nil {
		return new(key)
	}
	return *k.k
}

// ID returns the RFC 7638 thumbprint of the key with SHA-256, which revokes the key.
func (k Key) ID() rotation.ID { return k.data().id }

// KeyID returns the kid of the key, or "" if the key has none.
func (k Key) KeyID() string { return k.data().kid }

// Algorithm returns the algorithm of the key, with one name for EdDSA and Ed25519. It
// returns "" for the zero Key.
func (k Key) Algorithm() string {
	if method := k.data().method; method != nil {
		return method.Alg()
	}
	return ""
}

// Fingerprint returns the first 8 hex digits of ID.
func (k Key) Fingerprint() string { return verify.Fingerprint(k.ID()) }

// Label returns KeyID, or Fingerprint if the key has no kid. A Principal reports it as
// its KeyID.
func (k Key) Label() string {
	if kid := k.KeyID(); kid != "" {
		return kid
	}
	return k.Fingerprint()
}

// PublicKey returns the public key: an *rsa.PublicKey, *ecdsa.PublicKey or
// ed25519.PublicKey. The caller must not modify it. PublicKey returns nil for an HMAC
// secret and for the zero Key.
func (k Key) PublicKey() crypto.PublicKey {
	if _, secret := k.data().public.([]byte); secret {
		return nil
	}
	return k.data().public
}

// Also returns a copy of k that also has the kids and algorithms of other. Issuers
// publish one key with several kids, and a revocation holds for all of them, so the key
// is one credential. KeyID and Algorithm of the result are those of k. Also panics if k
// and other are different keys.
func (k Key) Also(other Key) Key {
	if k.ID() != other.ID() {
		panic("verify: Key.Also: these are two keys")
	}
	joined := *k.data()
	joined.also = append(slices.Clip(joined.also), other.Names()...)
	p := &joined
	return Key{&p}
}

// Names returns k once for each of its kids and algorithms. KeyID and Algorithm of k are
// those of the first element.
func (k Key) Names() []Key { return append([]Key{k}, k.data().also...) }

// RevocableNames returns the [verify.RevokedKeyID] of each kid of k. These IDs revoke the
// key, as its thumbprint does.
func (k Key) RevocableNames() (ids []rotation.ID) {
	for _, named := range k.Names() {
		if kid := named.KeyID(); kid != "" {
			ids = append(ids, verify.RevokedKeyID(kid))
		}
	}
	return ids
}

// verify reports whether the key made signature for signingInput.
func (k Key) verify(signingInput string, signature []byte) bool {
	d := k.data()
	return d.method != nil && d.method.Verify(signingInput, signature, d.public) == nil
}

// String returns the fingerprint and the algorithm of the key.
func (k Key) String() string { return "key(" + k.Fingerprint() + " " + k.Algorithm() + ")" }

// Format writes String for every verb and flag.
func (k Key) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, k.String()) }
