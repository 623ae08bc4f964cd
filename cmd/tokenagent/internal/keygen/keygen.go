// Package keygen makes tokens, and keys that sign and verify them.
package keygen

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"

	"github.com/MicahParks/jwkset"

	"github.com/tokenagent/tokenagent/internal/jwt"
)

// TokenBytes is how many random bytes a token has by default.
const TokenBytes = 32

// Secret returns n random bytes as base64url: text without white space, so that it is
// the same to readers that strip and to those that do not.
func Secret(n int) string {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails; see crypto/rand
	return base64.RawURLEncoding.EncodeToString(b)
}

// A Kind says which key pair to make. The zero Kind is Ed25519.
type Kind struct {
	RSABits int            // not 0: RSA
	Curve   elliptic.Curve // not nil: ECDSA
}

// KindOf returns the Kind of a public key.
func KindOf(public crypto.PublicKey) (Kind, error) {
	switch k := public.(type) {
	case *rsa.PublicKey:
		return Kind{RSABits: k.N.BitLen()}, nil
	case *ecdsa.PublicKey:
		return Kind{Curve: k.Curve}, nil
	case ed25519.PublicKey:
		return Kind{}, nil
	}
	return Kind{}, errors.New("of a kind that is not known here; stage one of your own, with --from FILE")
}

// New makes a key pair, and returns the private key also as PEM (PKCS #8).
func New(k Kind) (key crypto.Signer, text []byte, err error) {
	switch {
	case k.RSABits > 0:
		key, err = rsa.GenerateKey(rand.Reader, k.RSABits)
	case k.Curve != nil:
		key, err = ecdsa.GenerateKey(k.Curve, rand.Reader)
	default:
		_, key, err = ed25519.GenerateKey(rand.Reader)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("making a key: %w", err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, nil, fmt.Errorf("making a key: %w", err)
	}
	return key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
}

// PEM returns a public key as PEM (SPKI, RFC 5280 section 4.1).
func PEM(public crypto.PublicKey) ([]byte, error) {
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}), nil
}

// JWK returns a public key, or a secret that is a []byte, as a JSON Web Key (RFC 7517
// section 4), pinned to alg. kid may be "".
func JWK(alg, kid string, key any) ([]byte, error) {
	jwk, err := marshal(alg, kid, key)
	if err != nil {
		return nil, err
	}
	return json.Marshal(jwk)
}

// JWKS returns a public key as an indented set of one (RFC 7517 section 5).
func JWKS(alg, kid string, public crypto.PublicKey) ([]byte, error) {
	jwk, err := marshal(alg, kid, public)
	if err != nil {
		return nil, err
	}
	text, err := json.MarshalIndent(jwkset.JWKSMarshal{Keys: []jwkset.JWKMarshal{jwk}}, "", "  ")
	return append(text, '\n'), err
}

func marshal(alg, kid string, key any) (jwkset.JWKMarshal, error) {
	_, secret := key.([]byte)
	jwk, err := jwkset.NewJWKFromKey(key, jwkset.JWKOptions{
		Marshal:  jwkset.JWKMarshalOptions{Private: secret},
		Metadata: jwkset.JWKMetadataOptions{ALG: jwkset.ALG(alg), KID: kid, USE: jwkset.UseSig},
	})
	if err != nil {
		return jwkset.JWKMarshal{}, err
	}
	return jwk.Marshal(), nil
}

// Thumbprint returns the RFC 7638 thumbprint of k in base64url, which is the name of
// keys that are made here.
func Thumbprint(k jwt.Key) string {
	id := k.ID()
	return base64.RawURLEncoding.EncodeToString(id[:])
}
