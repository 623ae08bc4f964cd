package generate

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"

	golangjwt "github.com/golang-jwt/jwt/v5"

	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/keygen"
	"github.com/tokenagent/tokenagent/internal/jwt"
)

const (
	hs256          = "HS256"
	algorithmsText = "HS256, ES256, EdDSA, RS256 or PS256"
)

var algorithms = []string{hs256, "ES256", "EdDSA", "RS256", "PS256"} //nolint:gochecknoglobals // a constant list

// A signingKey signs JWTs.
type signingKey struct {
	algorithm, kid string // kid "" for none
	key            any    // a []byte or a crypto.Signer
	public         crypto.PublicKey
}

// newSigningKey returns key for signatures of the algorithm. Its kid is the thumbprint of
// the public key. A secret has no kid, because a thumbprint would confirm a guess of the
// secret (RFC 7638 section 7).
func newSigningKey(algorithm string, key any) (signingKey, error) {
	s := signingKey{algorithm: algorithm, key: key}
	material := key
	signer, pair := key.(crypto.Signer)
	if pair {
		s.public = signer.Public()
		material = s.public
	}
	k, err := jwt.NewKey(jwt.KeyConfig{Algorithm: algorithm, Material: material})
	if pair && err == nil {
		s.kid = keygen.Thumbprint(k)
	}
	return s, err
}

// sign returns the JWT with claims.
func (s signingKey) sign(claims golangjwt.MapClaims) (string, error) {
	t := golangjwt.NewWithClaims(golangjwt.GetSigningMethod(s.algorithm), claims)
	if s.kid != "" {
		t.Header["kid"] = s.kid
	}
	token, err := t.SignedString(s.key)
	if err != nil {
		return "", fmt.Errorf("signing the token: %w", err)
	}
	return token, nil
}

// makeKey makes a key for the algorithm, and returns the content of its file, too.
func makeKey(algorithm string) (key any, text []byte, err error) {
	if algorithm == hs256 {
		secret := []byte(keygen.Secret(keygen.TokenBytes))
		return secret, secret, nil
	}
	return keygen.New(algorithm, 0)
}

// parseKey parses the file of a key for the algorithm. Its errors say what the file holds,
// and quote nothing of it.
func parseKey(algorithm string, text []byte) (any, error) {
	block, rest := pem.Decode(text)
	if block != nil && block.Type == "EC PARAMETERS" { // openssl writes them before an EC key
		block, _ = pem.Decode(rest)
	}
	switch {
	case algorithm == hs256 && block != nil:
		return nil, fmt.Errorf("a PEM %s, which is no secret for HS256; use it with --jwt ES256, EdDSA, RS256 or PS256", strings.ToLower(block.Type))
	case algorithm == hs256:
		return bytes.TrimSpace(text), nil // an editor's last newline is no secret
	case block == nil:
		return nil, errors.New("no PEM; a private key in PKCS #8 begins with -----BEGIN PRIVATE KEY-----")
	}
	return privateKey(block)
}

func privateKey(block *pem.Block) (key any, err error) {
	switch {
	case block.Type == "ENCRYPTED PRIVATE KEY", strings.Contains(block.Headers["Proc-Type"], "ENCRYPTED"):
		return nil, errors.New("an encrypted key; decrypt it first, such as with openssl pkey")
	case block.Type == "PRIVATE KEY":
		key, err = x509.ParsePKCS8PrivateKey(block.Bytes)
	case block.Type == "EC PRIVATE KEY":
		key, err = x509.ParseECPrivateKey(block.Bytes)
	case block.Type == "RSA PRIVATE KEY":
		key, err = x509.ParsePKCS1PrivateKey(block.Bytes)
	case block.Type == "OPENSSH PRIVATE KEY":
		return nil, errors.New("a key in the OpenSSH format; convert it with ssh-keygen -p -m PKCS8")
	case strings.HasSuffix(block.Type, "PUBLIC KEY"), block.Type == "CERTIFICATE":
		return nil, fmt.Errorf("a %s; signing needs the private key", strings.ToLower(block.Type))
	default:
		return nil, errors.New("PEM of a type that is no private key")
	}
	if err != nil {
		return nil, errors.New("a private key that does not parse; copy the file again, whole")
	}
	return key, nil
}
