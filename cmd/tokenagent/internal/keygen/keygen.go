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
	"io/fs"
	"os"

	"github.com/tokenagent/tokenagent/internal/jwt"
)

// TokenBytes is the default number of random bytes in a token: 256 bits, as RFC 4086
// recommends for a long-lived secret.
const TokenBytes = 32

// Secret returns n random bytes as base64url. Such text has no white space, so readers that
// strip white space and readers that do not read the same.
func Secret(n int) string {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails; see crypto/rand
	return base64.RawURLEncoding.EncodeToString(b)
}

// New makes a key pair for signatures of the algorithm. An RSA key has rsaBits bits, or 2048
// if that is more. New also returns the private key as PEM (PKCS #8).
func New(algorithm string, rsaBits int) (key crypto.Signer, text []byte, err error) {
	switch algorithm {
	case "ES256":
		key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case "ES384":
		key, err = ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	case "ES512":
		key, err = ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
	case "EdDSA", "Ed25519":
		_, key, err = ed25519.GenerateKey(rand.Reader)
	default:
		key, err = rsa.GenerateKey(rand.Reader, max(rsaBits, 2048))
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
// section 4) for the algorithm. kid may be "".
func JWK(algorithm, kid string, material any) (json.RawMessage, error) {
	members := jwt.Members(material)
	members["alg"], members["use"] = algorithm, "sig"
	if kid != "" {
		members["kid"] = kid
	}
	return json.Marshal(members)
}

// JWKS returns a public key as an indented set of one key (RFC 7517 section 5).
func JWKS(algorithm, kid string, public crypto.PublicKey) ([]byte, error) {
	jwk, err := JWK(algorithm, kid, public)
	if err != nil {
		return nil, err
	}
	text, err := json.MarshalIndent(map[string][]json.RawMessage{"keys": {jwk}}, "", "  ")
	return append(text, '\n'), err
}

// Thumbprint returns the RFC 7638 thumbprint of k in base64url, which is the kid of the keys
// that are made here.
func Thumbprint(k jwt.Key) string {
	id := k.ID()
	return base64.RawURLEncoding.EncodeToString(id[:])
}

// WriteNew writes a file that must not exist. If it fails, it leaves no file.
func WriteNew(path string, data []byte, mode fs.FileMode) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		err = errors.Join(err, os.Remove(path)) // do not leave a part of a key
	}
	return err
}
