package generate

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"

	"github.com/golang-jwt/jwt/v5"

	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/keygen"
)

const (
	algHS256 = "HS256"
	algES256 = "ES256"
	algEdDSA = "EdDSA"
	algRS256 = "RS256"
	algPS256 = "PS256"

	// A key for HS256 has at least as many bits as the hash (RFC 7518 section 3.2).
	minSecret = 32
	// RFC 7518 sections 3.3 and 3.5.
	minRSABits = 2048

	algorithmsText = "HS256, ES256, EdDSA, RS256 or PS256"
)

var algorithms = []string{algHS256, algES256, algEdDSA, algRS256, algPS256} //nolint:gochecknoglobals // a constant list

// sign returns the JWT with claims.
func sign(s signingKey, claims jwt.MapClaims) (string, error) {
	t := jwt.NewWithClaims(jwt.GetSigningMethod(s.alg), claims)
	if s.kid != "" {
		t.Header["kid"] = s.kid
	}
	token, err := t.SignedString(s.key)
	if err != nil {
		return "", fmt.Errorf("signing the token: %w", err)
	}
	return token, nil
}

// newKey makes a signing key for alg and returns it with the content of its file.
func newKey(alg string) (key any, file []byte, err error) {
	switch alg {
	case algHS256:
		text := []byte(keygen.Secret(minSecret))
		return text, text, nil
	case algES256:
		return keygen.New(keygen.Kind{Curve: elliptic.P256()})
	case algEdDSA:
		return keygen.New(keygen.Kind{})
	}
	return keygen.New(keygen.Kind{RSABits: minRSABits})
}

// parseKey reads the content of a signing key's file. Its errors say what the
// file holds instead, and nothing of its bytes.
func parseKey(alg string, data []byte) (any, error) {
	block := firstKey(data)
	if alg == algHS256 {
		data = bytes.TrimSpace(data) // an editor's last newline is no secret
		switch {
		case block != nil:
			return nil, fmt.Errorf("holds a PEM %s, which is no secret for HS256; say --jwt ES256, EdDSA, RS256 or PS256 with it", strings.ToLower(block.Type))
		case len(data) < minSecret:
			return nil, fmt.Errorf("has %d bytes; HS256 needs %d at least (RFC 7518 section 3.2)", len(data), minSecret)
		}
		return data, nil
	}
	if block == nil {
		return nil, errors.New("is not PEM; a private key in PKCS#8 begins with -----BEGIN PRIVATE KEY-----")
	}
	key, err := privateKey(block)
	if err != nil {
		return nil, err
	}
	return key, suits(alg, key)
}

// firstKey returns the first PEM block of data that is more than parameters,
// which openssl puts before an EC key.
func firstKey(data []byte) *pem.Block {
	for {
		block, rest := pem.Decode(data)
		if block == nil || block.Type != "EC PARAMETERS" {
			return block
		}
		data = rest
	}
}

func privateKey(block *pem.Block) (key any, err error) {
	switch {
	case block.Type == "ENCRYPTED PRIVATE KEY", strings.Contains(block.Headers["Proc-Type"], "ENCRYPTED"):
		return nil, errors.New("is encrypted; decrypt it first, such as with openssl pkey")
	case block.Type == "PRIVATE KEY":
		key, err = x509.ParsePKCS8PrivateKey(block.Bytes)
	case block.Type == "EC PRIVATE KEY":
		key, err = x509.ParseECPrivateKey(block.Bytes)
	case block.Type == "RSA PRIVATE KEY":
		key, err = x509.ParsePKCS1PrivateKey(block.Bytes)
	case block.Type == "OPENSSH PRIVATE KEY":
		return nil, errors.New("is in OpenSSH's form; convert it with ssh-keygen -p -m PKCS8")
	case strings.HasSuffix(block.Type, "PUBLIC KEY"), block.Type == "CERTIFICATE":
		return nil, fmt.Errorf("holds a %s; signing needs the private key", strings.ToLower(block.Type))
	default:
		return nil, errors.New("holds PEM of a type that is no private key")
	}
	if err != nil {
		return nil, errors.New("holds a private key that cannot be read; is the file whole?")
	}
	return key, nil
}

// suits reports whether alg can sign with key.
func suits(alg string, key any) error {
	needs := "an EC key on P-256"
	switch alg {
	case algEdDSA:
		needs = "an Ed25519 key"
	case algRS256, algPS256:
		needs = "an RSA key"
	}
	switch k := key.(type) {
	case *ecdsa.PrivateKey:
		if alg != algES256 {
			return fmt.Errorf("holds an EC key; %s needs %s, or say --jwt ES256", alg, needs)
		}
		if k.Curve != elliptic.P256() {
			return fmt.Errorf("holds an EC key on %s; ES256 needs one on P-256", k.Curve.Params().Name)
		}
	case ed25519.PrivateKey:
		if alg != algEdDSA {
			return fmt.Errorf("holds an Ed25519 key; %s needs %s, or say --jwt EdDSA", alg, needs)
		}
	case *rsa.PrivateKey:
		if alg != algRS256 && alg != algPS256 {
			return fmt.Errorf("holds an RSA key; %s needs %s, or say --jwt RS256 or PS256", alg, needs)
		}
		if bits := k.N.BitLen(); bits < minRSABits {
			return fmt.Errorf("holds an RSA key of %d bits; %s needs %d at least (RFC 7518 section 3.3)", bits, alg, minRSABits)
		}
	default:
		return fmt.Errorf("holds a key of a kind that no JWT is signed with here; %s needs %s", alg, needs)
	}
	return nil
}
