package generate

import (
	"crypto"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"

	"github.com/MicahParks/jwkset"

	"github.com/tokenagent/tokenagent/pkg/verify"
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
	k, err := verify.NewKey(verify.KeyConfig{Algorithm: alg, Material: signer.Public()})
	if err != nil {
		return "", err
	}
	id := k.ID()
	return base64.RawURLEncoding.EncodeToString(id[:]), nil
}

// publicPEM returns the public part of key as PEM (SPKI, RFC 5280 section 4.1).
func publicPEM(key any) ([]byte, error) {
	signer, ok := key.(crypto.Signer)
	if !ok {
		return nil, errSecret
	}
	der, err := x509.MarshalPKIXPublicKey(signer.Public())
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}), nil
}

// publicJWKS returns the public part of key as a JSON Web Key Set of one (RFC
// 7517 section 5), pinned to alg. kid may be "".
func publicJWKS(alg, kid string, key any) ([]byte, error) {
	signer, ok := key.(crypto.Signer)
	if !ok {
		return nil, errSecret
	}
	jwk, err := jwkset.NewJWKFromKey(signer.Public(), jwkset.JWKOptions{
		Metadata: jwkset.JWKMetadataOptions{ALG: jwkset.ALG(alg), KID: kid, USE: jwkset.UseSig},
	})
	if err != nil {
		return nil, err
	}
	text, err := json.MarshalIndent(jwkset.JWKSMarshal{Keys: []jwkset.JWKMarshal{jwk.Marshal()}}, "", "  ")
	return append(text, '\n'), err
}
