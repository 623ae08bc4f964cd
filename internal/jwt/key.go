package jwt

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"slices"

	"github.com/golang-jwt/jwt/v5"

	"github.com/tokenagent/tokenagent/internal/rotation"
	"github.com/tokenagent/tokenagent/pkg/verify"
)

// A Key verifies the signatures of one algorithm, to which it is pinned: what a
// token says of its algorithm chooses among keys and never how one is used, so
// that a public key cannot be taken for an HMAC secret. It is immutable and safe
// for concurrent use, and shows no secret under any verb of fmt. The zero Key
// verifies nothing.
type Key struct {
	k **key // as Token has it
}

type key struct {
	id     rotation.ID
	kid    string
	method jwt.SigningMethod
	also   []Key // the same key under further names; see Also
	public any   // in the form that method takes: []byte, *rsa.PublicKey, *ecdsa.PublicKey or ed25519.PublicKey
}

// A KeyConfig is what a new Key is made of.
type KeyConfig struct {
	// KeyID is the name by which tokens select the key, their header "kid" (RFC
	// 7515 section 4.1.4). A key without one verifies tokens of its algorithm
	// under any name.
	KeyID string
	// Algorithm is one of those that Algorithms lists. "" means the one that
	// DefaultAlgorithm gives for Material.
	Algorithm string
	// Material is an *rsa.PublicKey of 2048 to 8192 bits, an *ecdsa.PublicKey on
	// the algorithm's own curve, an ed25519.PublicKey, or the []byte of an HMAC
	// secret at least as long as the hash (RFC 7518 section 3.2). It is not
	// copied: the caller gives it up.
	Material any
}

// Algorithms lists the signature algorithms that keys can have (RFC 7518 section
// 3.1, RFC 8037 section 3.1, RFC 9864 section 2.2), without "none". "Ed25519" is
// the newer name of what "EdDSA" means with an Ed25519 key; a [Key] says "EdDSA".
func Algorithms() []string {
	return []string{
		"HS256", "HS384", "HS512", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512",
		"ES256", "ES384", "ES512", "EdDSA", "Ed25519",
	}
}

// canonicalAlgorithm returns the one name of an algorithm that has two.
func canonicalAlgorithm(alg string) string {
	if alg == "Ed25519" {
		return "EdDSA"
	}
	return alg
}

// signingMethod returns how signatures of the algorithm are checked. golang-jwt
// takes an RSASSA-PSS salt of any length; RFC 7518 section 3.5 wants one as long
// as the hash.
func signingMethod(alg string) jwt.SigningMethod {
	method := jwt.GetSigningMethod(alg)
	pss, ok := method.(*jwt.SigningMethodRSAPSS)
	if !ok {
		return method
	}
	return &jwt.SigningMethodRSAPSS{
		SigningMethodRSA: pss.SigningMethodRSA,
		Options:          pss.Options,
		VerifyOptions:    &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash},
	}
}

// DefaultAlgorithm returns the algorithm of a key that names none: that of its
// curve, RS256 for RSA (the default of OpenID Connect Core section 2), HS256 for
// a secret. It is "" for anything that is no verification key.
func DefaultAlgorithm(material any) string {
	switch m := material.(type) {
	case []byte:
		return "HS256"
	case *rsa.PublicKey:
		return "RS256"
	case ed25519.PublicKey:
		return "EdDSA"
	case *ecdsa.PublicKey:
		switch m.Curve {
		case elliptic.P256():
			return "ES256"
		case elliptic.P384():
			return "ES384"
		case elliptic.P521():
			return "ES512"
		}
	}
	return ""
}

const (
	minRSABits = 2048
	maxRSABits = 8192 // what more costs, whoever sends tokens makes us pay
)

// What keeps material from being a Key. Texts are constants.
var (
	errPrivate = errors.New("a private key, which signs; give the public key alone (openssl pkey -pubout)")
	errNoKey   = errors.New("no key of a kind that verifies signatures; RSA, EC P-256, P-384, P-521, Ed25519 or an HMAC secret does")
)

// NewKey returns the Key that c describes. The error says what is wrong and what
// mends it, and quotes neither key nor name.
func NewKey(c KeyConfig) (Key, error) {
	alg := canonicalAlgorithm(c.Algorithm)
	if alg == "" {
		alg = DefaultAlgorithm(c.Material)
	}
	if _, private := c.Material.(crypto.Signer); private {
		return Key{}, errPrivate
	}
	k := &key{kid: c.KeyID, public: c.Material}
	if !slices.Contains(Algorithms(), alg) {
		if c.Algorithm == "" {
			return Key{}, errNoKey
		}
		return Key{}, errors.New("an algorithm that is none of HS, RS, PS or ES with 256, 384 or 512, EdDSA or Ed25519")
	}
	k.method = signingMethod(alg)
	var thumb string
	var err error
	switch m := c.Material.(type) {
	case []byte:
		thumb, err = secretThumb(m, k.method)
	case *rsa.PublicKey:
		thumb, err = rsaThumb(m, k.method)
	case *ecdsa.PublicKey:
		thumb, err = curveThumb(m, k.method)
	case ed25519.PublicKey:
		if _, ok := k.method.(*jwt.SigningMethodEd25519); !ok {
			err = mismatch(alg, "EdDSA, also called Ed25519")
		} else {
			err = edwardsPoint(m)
		}
		thumb = `{"crv":"Ed25519","kty":"OKP","x":"` + b64(m) + `"}`
	default:
		err = errNoKey
	}
	if err != nil {
		return Key{}, err
	}
	k.id = sha256.Sum256([]byte(thumb))
	return Key{&k}, nil
}

func mismatch(alg, fits string) error {
	return fmt.Errorf("a key that does not fit its algorithm %s; it is for %s", alg, fits)
}

func b64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

// The thumb functions check material against the algorithm and return what RFC
// 7638 section 3 has hashed: the required members in lexicographic order.

func secretThumb(secret []byte, method jwt.SigningMethod) (string, error) {
	m, ok := method.(*jwt.SigningMethodHMAC)
	if !ok {
		return "", mismatch(method.Alg(), "HS256, HS384 or HS512")
	}
	if least := m.Hash.Size(); len(secret) < least {
		// golang-jwt takes a key of any length, the empty one too.
		return "", fmt.Errorf("an HMAC secret of %d bytes; %s needs at least %d (RFC 7518 section 3.2)", len(secret), m.Alg(), least)
	}
	return `{"k":"` + b64(secret) + `","kty":"oct"}`, nil
}

func rsaThumb(k *rsa.PublicKey, method jwt.SigningMethod) (string, error) {
	switch method.(type) {
	case *jwt.SigningMethodRSA, *jwt.SigningMethodRSAPSS:
	default:
		return "", mismatch(method.Alg(), "RS256, RS384, RS512, PS256, PS384 or PS512")
	}
	if k == nil || k.N == nil {
		return "", errNoKey
	}
	switch bits := k.N.BitLen(); {
	case bits < minRSABits:
		return "", fmt.Errorf("an RSA key of %d bits; it takes at least %d (RFC 7518 section 3.3)", bits, minRSABits)
	case bits > maxRSABits:
		return "", fmt.Errorf("an RSA key of %d bits; at most %d, since verifying costs with its length", bits, maxRSABits)
	case k.N.Bit(0) == 0 || k.E < 3 || k.E&1 == 0:
		return "", errors.New("an RSA key with an even modulus, or an exponent that is even or below 3; make another")
	}
	return `{"e":"` + b64(big.NewInt(int64(k.E)).Bytes()) + `","kty":"RSA","n":"` + b64(k.N.Bytes()) + `"}`, nil
}

func curveThumb(k *ecdsa.PublicKey, method jwt.SigningMethod) (string, error) {
	if k == nil || k.Curve == nil {
		return "", errNoKey
	}
	fits := DefaultAlgorithm(k)
	if fits == "" {
		return "", errNoKey
	}
	if fits != method.Alg() {
		// golang-jwt would take any curve whose signature has the right length.
		return "", mismatch(method.Alg(), fits)
	}
	point, err := k.Bytes() // SEC 1 section 2.3.3, uncompressed: 4, x, y
	if err != nil {
		return "", errors.New("an EC key that is no point on its curve; make another")
	}
	half := (len(point) - 1) / 2
	return `{"crv":"` + k.Params().Name + `","kty":"EC","x":"` + b64(point[1:1+half]) + `","y":"` + b64(point[1+half:]) + `"}`, nil
}

// ID returns the key's RFC 7638 thumbprint with SHA-256, by which it is revoked.
func (k Key) ID() rotation.ID {
	if k.k == nil {
		return rotation.ID{}
	}
	return (*k.k).id
}

// Also returns k that goes by the kid and algorithm of other, too. Issuers publish
// one key under several of them, and it is revoked under all of them at once: so it
// is one credential. KeyID and Algorithm stay those of k. Both must be the same key.
func (k Key) Also(other Key) Key {
	if k.ID() != other.ID() {
		panic("verify: Key.Also: these are two keys")
	}
	joined := **k.k
	joined.also = append(slices.Clip(joined.also), other.Names()...)
	p := &joined
	return Key{&p}
}

// Names returns k once for each kid and algorithm that it goes by, the first of
// which are those that KeyID and Algorithm return.
func (k Key) Names() []Key {
	if k.k == nil {
		return nil
	}
	return append([]Key{k}, (*k.k).also...)
}

// RevocableNames returns by what k can be revoked, besides its thumbprint: each kid
// that it goes by, as [RevokedKeyID] has it.
func (k Key) RevocableNames() (ids []rotation.ID) {
	for _, named := range k.Names() {
		if kid := named.KeyID(); kid != "" {
			ids = append(ids, verify.RevokedKeyID(kid))
		}
	}
	return ids
}

// KeyID returns the name by which tokens select the key; "" where it has none.
func (k Key) KeyID() string {
	if k.k == nil {
		return ""
	}
	return (*k.k).kid
}

// Algorithm returns the algorithm that the key is pinned to.
func (k Key) Algorithm() string {
	if k.k == nil {
		return ""
	}
	return (*k.k).method.Alg()
}

// Fingerprint returns the first 8 hex digits of ID.
func (k Key) Fingerprint() string {
	if k.k == nil {
		return ""
	}
	return verify.Fingerprint((*k.k).id)
}

// Label returns KeyID, or Fingerprint where there is none: what a Principal says
// of the key that vouches for it.
func (k Key) Label() string {
	if kid := k.KeyID(); kid != "" {
		return kid
	}
	return k.Fingerprint()
}

// PublicKey returns the key where it may be shown: an *rsa.PublicKey,
// *ecdsa.PublicKey or ed25519.PublicKey, which must not be modified. It is nil
// for a secret.
func (k Key) PublicKey() crypto.PublicKey {
	if k.k == nil {
		return nil
	}
	if _, secret := (*k.k).public.([]byte); secret {
		return nil
	}
	return (*k.k).public
}

// verify reports whether signature is the key's of what stands before it.
func (k Key) verify(signingInput string, signature []byte) bool {
	return k.k != nil && (*k.k).method.Verify(signingInput, signature, (*k.k).public) == nil
}

// String returns the key's fingerprint and algorithm.
func (k Key) String() string {
	if k.k == nil {
		return "key()"
	}
	return "key(" + k.Fingerprint() + " " + k.Algorithm() + ")"
}

// Format writes String for every verb and flag.
func (k Key) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, k.String()) }

// MarshalText returns String.
func (k Key) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// LogValue returns String.
func (k Key) LogValue() slog.Value { return slog.StringValue(k.String()) }
