// Package mint makes the keys that a rotation of verification keys stages: new
// ones, and those of others in the form that their place has.
package mint

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"

	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/rotate/content"
	"github.com/tokenagent/tokenagent/pkg/verify"
)

// A Pair is a new verification key and what signs with it. It shows no secret,
// whatever the verb.
type Pair struct {
	Public content.Credential
	// Private is the private key as PEM (PKCS #8); it reveals "" where Public is a
	// secret, with which both sign and verify.
	Private verify.Token
}

// Model returns the key of c that a new one is to be like: the current one, or of
// a key set any of those that are accepted, where all of them have one algorithm.
func Model(c content.Content) (content.Credential, error) {
	if !c.Set {
		return c.Current, nil
	}
	model := c.Listed[0]
	for _, k := range c.Listed[1:] {
		if k.Key().Algorithm() != model.Key().Algorithm() {
			return content.Credential{}, errors.New("the key set has keys of several algorithms; say which by a key of your own, with --from FILE")
		}
		if size(k) > size(model) {
			model = k
		}
	}
	return model, nil
}

// size is how long an RSA key is, in bits; all others of one algorithm are alike.
func size(k content.Credential) int {
	if public, ok := k.Key().PublicKey().(*rsa.PublicKey); ok {
		return public.N.BitLen()
	}
	return 0
}

// Like returns a new key of the algorithm and the length of model, written in
// model's form, or as a JWK with a name for a key set.
func Like(model content.Credential, set bool) (Pair, error) {
	material, private, err := material(model)
	if err != nil {
		return Pair{}, fmt.Errorf("making a key: %w", err)
	}
	k, err := verify.NewKey(verify.KeyConfig{Algorithm: model.Key().Algorithm(), Material: material})
	if err != nil {
		return Pair{}, fmt.Errorf("making a key: %w", err)
	}
	secret, _ := material.([]byte)
	p := Pair{Private: verify.NewToken(string(private))}
	if set || content.IsJWK([]byte(model.Reveal())) {
		p.Public, err = jwk(k, secret, set || model.Key().KeyID() != "")
		return p, err
	}
	text := secret
	if secret == nil {
		der, err := x509.MarshalPKIXPublicKey(material)
		if err != nil {
			return Pair{}, fmt.Errorf("making a key: %w", err)
		}
		text = pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
	}
	p.Public = content.Key(k, text)
	return p, nil
}

// material makes what verifies, and the private key as PEM where that is another.
func material(model content.Credential) (public any, private []byte, err error) {
	var signer crypto.Signer
	switch m := model.Key().PublicKey().(type) {
	case nil:
		return secret(model.Key().Algorithm()), nil, nil
	case *rsa.PublicKey:
		signer, err = rsa.GenerateKey(rand.Reader, m.N.BitLen())
	case *ecdsa.PublicKey:
		signer, err = ecdsa.GenerateKey(m.Curve, rand.Reader)
	case ed25519.PublicKey:
		_, signer, err = ed25519.GenerateKey(rand.Reader)
	default:
		err = errors.New("of a kind that is not known here; stage one of your own, with --from FILE")
	}
	if err != nil {
		return nil, nil, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(signer)
	if err != nil {
		return nil, nil, err
	}
	return signer.Public(), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
}

// secret returns as many random bytes as the hash has, as base64url: text, so
// that it is the same to readers that strip white space and to those that do not.
func secret(algorithm string) []byte {
	n := map[string]int{"HS256": 32, "HS384": 48, "HS512": 64}[algorithm]
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails; see crypto/rand
	return []byte(base64.RawURLEncoding.EncodeToString(b))
}

// PublicHalf returns the key that verifies what the private key in text signs:
// PKCS #8 as PEM. The error quotes nothing.
func PublicHalf(text []byte, algorithm string) (verify.Key, error) {
	block, rest := pem.Decode(text)
	if block == nil || block.Type != "PRIVATE KEY" || strings.TrimSpace(string(rest)) != "" {
		return verify.Key{}, errors.New("no private key alone, as PEM of PKCS #8")
	}
	private, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return verify.Key{}, errors.New("a private key that cannot be read")
	}
	signer, ok := private.(crypto.Signer)
	if !ok {
		return verify.Key{}, errors.New("a private key of a kind that signs nothing")
	}
	return verify.NewKey(verify.KeyConfig{Algorithm: algorithm, Material: signer.Public()})
}
