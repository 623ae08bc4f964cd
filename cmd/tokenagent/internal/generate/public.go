package generate

import (
	"crypto"
	"errors"

	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/keygen"
	"github.com/tokenagent/tokenagent/internal/jwt"
)

var errSecret = errors.New("a secret has no public key")

// thumbprint returns the RFC 7638 thumbprint of the public part of key in
// base64url, which is the kid that its JWKS has by default. It is "" for a secret:
// that of one that can be guessed would tell when the guess is right (RFC 7638
// section 7).
func thumbprint(alg string, key any) (string, error) {
	signer, ok := key.(crypto.Signer)
	if !ok {
		return "", nil
	}
	k, err := jwt.NewKey(jwt.KeyConfig{Algorithm: alg, Material: signer.Public()})
	if err != nil {
		return "", err
	}
	return keygen.Thumbprint(k), nil
}

func publicPEM(key any) ([]byte, error) {
	signer, ok := key.(crypto.Signer)
	if !ok {
		return nil, errSecret
	}
	return keygen.PEM(signer.Public())
}

func publicJWKS(alg, kid string, key any) ([]byte, error) {
	signer, ok := key.(crypto.Signer)
	if !ok {
		return nil, errSecret
	}
	return keygen.JWKS(alg, kid, signer.Public())
}
