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
	// Algorithm is one of Algorithms. "" means the DefaultAlgorithm of Material.
	Algorithm string
	// Material is an *rsa.PublicKey of 2048 to 8192 bits, an *ecdsa.PublicKey on the
	// curve of the algorithm, an ed25519.PublicKey, or the []byte of an HMAC secret at
	// least as long as the hash (RFC 7518 section 3.2). NewKey does not copy it, so do
	// not modify it afterwards.
	Material any
}

// Algorithms returns the supported signature algorithms in a new slice (RFC 7518 section
// 3.1, RFC 8037 section 3.1, RFC 9864 section 2.2). "none" is not supported. "Ed25519" is
// the newer name for "EdDSA" with an Ed25519 key; a [Key] reports "EdDSA".
func Algorithms() []string {
	return []string{
		"HS256", "HS384", "HS512", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512",
		"ES256", "ES384", "ES512", "EdDSA", "Ed25519",
	}
}

// canonicalAlgorithm returns "EdDSA" for "Ed25519", and alg otherwise.
func canonicalAlgorithm(alg string) string {
	if alg == "Ed25519" {
		return "EdDSA"
	}
	return alg
}

// signingMethod returns the method that verifies signatures of the algorithm. golang-jwt
// accepts an RSASSA-PSS salt of any length, but RFC 7518 section 3.5 requires a salt as
// long as the hash.
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

// DefaultAlgorithm returns the algorithm of a key that does not specify one: HS256 for a
// secret, RS256 for an RSA key (the default of OpenID Connect Core section 2), and the
// algorithm of the curve for other keys. It returns "" if material is not a supported
// verification key.
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
	maxRSABits = 8192 // a longer key would let senders of tokens cause too much work
)

// Errors of NewKey. The texts are constants.
var (
	errPrivate = errors.New("a private key, which signs; give the public key alone (openssl pkey -pubout)")
	errNoKey   = errors.New("no key of a kind that verifies signatures; RSA, EC P-256, P-384, P-521, Ed25519 or an HMAC secret does")
)

// NewKey returns the Key that c describes. The error says what is wrong and how to fix
// it. It quotes neither the key nor its kid.
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

// The thumb functions validate material for the algorithm and return the JSON text whose
// hash is the thumbprint: the required members in lexicographic order (RFC 7638 section
// 3).

func secretThumb(secret []byte, method jwt.SigningMethod) (string, error) {
	m, ok := method.(*jwt.SigningMethodHMAC)
	if !ok {
		return "", mismatch(method.Alg(), "HS256, HS384 or HS512")
	}
	if least := m.Hash.Size(); len(secret) < least {
		// golang-jwt accepts a key of any length, even an empty one.
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
		// golang-jwt accepts any curve whose signatures have the right length.
		return "", mismatch(method.Alg(), fits)
	}
	point, err := k.Bytes() // SEC 1 section 2.3.3, uncompressed: 4, x, y
	if err != nil {
		return "", errors.New("an EC key that is no point on its curve; make another")
	}
	half := (len(point) - 1) / 2
	return `{"crv":"` + k.Params().Name + `","kty":"EC","x":"` + b64(point[1:1+half]) + `","y":"` + b64(point[1+half:]) + `"}`, nil
}

// ID returns the RFC 7638 thumbprint of the key with SHA-256, which revokes the key. It
// returns the zero ID for the zero Key.
func (k Key) ID() rotation.ID {
	if k.k == nil {
		return rotation.ID{}
	}
	return (*k.k).id
}

// Also returns a copy of k that also has the kids and algorithms of other. Issuers
// publish one key with several kids, and a revocation holds for all of them, so the key
// is one credential. KeyID and Algorithm of the result are those of k. Also panics if k
// and other are different keys.
func (k Key) Also(other Key) Key {
	if k.ID() != other.ID() {
		panic("verify: Key.Also: these are two keys")
	}
	joined := **k.k
	joined.also = append(slices.Clip(joined.also), other.Names()...)
	p := &joined
	return Key{&p}
}

// Names returns k once for each of its kids and algorithms. KeyID and Algorithm of k are
// those of the first element. Names returns nil for the zero Key.
func (k Key) Names() []Key {
	if k.k == nil {
		return nil
	}
	return append([]Key{k}, (*k.k).also...)
}

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

// KeyID returns the kid of the key, or "" if the key has none.
func (k Key) KeyID() string {
	if k.k == nil {
		return ""
	}
	return (*k.k).kid
}

// Algorithm returns the algorithm of the key, or "" for the zero Key.
func (k Key) Algorithm() string {
	if k.k == nil {
		return ""
	}
	return (*k.k).method.Alg()
}

// Fingerprint returns the first 8 hex digits of ID, or "" for the zero Key.
func (k Key) Fingerprint() string {
	if k.k == nil {
		return ""
	}
	return verify.Fingerprint((*k.k).id)
}

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
	if k.k == nil {
		return nil
	}
	if _, secret := (*k.k).public.([]byte); secret {
		return nil
	}
	return (*k.k).public
}

// verify reports whether the key made signature for signingInput.
func (k Key) verify(signingInput string, signature []byte) bool {
	return k.k != nil && (*k.k).method.Verify(signingInput, signature, (*k.k).public) == nil
}

// String returns the fingerprint and the algorithm of the key.
func (k Key) String() string {
	if k.k == nil {
		return "key()"
	}
	return "key(" + k.Fingerprint() + " " + k.Algorithm() + ")"
}

// Format writes String for every verb and flag.
func (k Key) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, k.String()) }

// MarshalText returns String. The error is always nil.
func (k Key) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// LogValue returns String.
func (k Key) LogValue() slog.Value { return slog.StringValue(k.String()) }
