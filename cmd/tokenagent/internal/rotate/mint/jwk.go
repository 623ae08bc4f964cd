package mint

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"

	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/rotate/content"
	"github.com/tokenagent/tokenagent/pkg/verify"
	"github.com/tokenagent/tokenagent/pkg/verify/jwks"
)

// A webKey is a public key or a secret as a JSON Web Key (RFC 7517 section 4).
type webKey struct {
	Kty string `json:"kty"`
	Use string `json:"use"`
	Alg string `json:"alg"`
	Kid string `json:"kid,omitempty"`
	Crv string `json:"crv,omitempty"`
	N   string `json:"n,omitempty"`
	E   string `json:"e,omitempty"`
	X   string `json:"x,omitempty"`
	Y   string `json:"y,omitempty"`
	K   string `json:"k,omitempty"`
}

func b64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

// Thumbprint returns the RFC 7638 thumbprint of k in base64url, which is the
// name of keys that are made here.
func Thumbprint(k verify.Key) string {
	id := k.ID()
	return b64(id[:])
}

// jwk returns k written as a JWK. secret is what it is made of where it has no
// public key. named gives it its thumbprint as kid.
func jwk(k verify.Key, secret []byte, named bool) (content.Credential, error) {
	w := webKey{Use: "sig", Alg: k.Algorithm(), Kid: k.KeyID()}
	if named && w.Kid == "" {
		w.Kid = Thumbprint(k)
	}
	switch m := k.PublicKey().(type) {
	case nil:
		w.Kty, w.K = "oct", b64(secret)
	case *rsa.PublicKey:
		w.Kty, w.N, w.E = "RSA", b64(m.N.Bytes()), b64(big.NewInt(int64(m.E)).Bytes())
	case *ecdsa.PublicKey:
		point, err := m.Bytes() // SEC 1 section 2.3.3, uncompressed: 4, x, y
		if err != nil {
			return content.Credential{}, errors.New("an EC key that is no point on its curve; make another")
		}
		half := 1 + (len(point)-1)/2
		w.Kty, w.Crv, w.X, w.Y = "EC", m.Params().Name, b64(point[1:half]), b64(point[half:])
	case ed25519.PublicKey:
		w.Kty, w.Crv, w.X = "OKP", "Ed25519", b64(m)
	}
	text, err := json.Marshal(w)
	if err != nil {
		return content.Credential{}, fmt.Errorf("writing a JWK: %w", err)
	}
	return read(text, k)
}

// read returns the key that text, a JWK, says, which must be k but for its name.
func read(text []byte, k verify.Key) (content.Credential, error) {
	got, err := jwks.Parse(text, jwks.ParseOptions{Algorithm: k.Algorithm()})
	if err != nil {
		return content.Credential{}, err
	}
	if len(got.Decls) != 1 || got.Decls[0].ID != k.ID() || got.Decls[0].Value.Algorithm() != k.Algorithm() {
		return content.Credential{}, content.ErrUnfaithful
	}
	return content.Key(got.Decls[0].Value, text), nil
}

// ForSet returns the key v, which may be written in any form, as a JWK with a
// name. A JWK keeps its members, and its name where it has one.
func ForSet(v content.Credential) (content.Credential, error) {
	text := bytes.TrimSpace(bytes.TrimPrefix([]byte(v.Reveal()), []byte("\xef\xbb\xbf")))
	switch {
	case !content.IsJWK(text):
		return jwk(v.Key(), text, true)
	case v.Key().KeyID() != "":
		return read(text, v.Key())
	default:
		// It has members: without kty it would be no JWK.
		return read([]byte(`{"kid":"`+Thumbprint(v.Key())+`",`+string(text[1:])), v.Key())
	}
}
