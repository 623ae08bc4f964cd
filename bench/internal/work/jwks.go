package work

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"math/big"
)

// JWKS returns the public key of s, or its secret, as a JSON Web Key Set (RFC 7517,
// RFC 8037).
func (s Signer) JWKS() ([]byte, error) {
	text := base64.RawURLEncoding.EncodeToString
	key := map[string]string{"kid": KeyID, "alg": s.Algorithm, "use": "sig"}
	switch k := s.Public.(type) {
	case []byte:
		key["kty"], key["k"] = "oct", text(k)
	case *rsa.PublicKey:
		key["kty"], key["n"], key["e"] = "RSA", text(k.N.Bytes()), text(big.NewInt(int64(k.E)).Bytes())
	case *ecdsa.PublicKey:
		point, err := k.Bytes() // the byte 4, then both coordinates (SEC 1 section 2.3.3)
		if err != nil {
			return nil, err
		}
		half := (len(point) - 1) / 2
		key["kty"], key["crv"], key["x"], key["y"] = "EC", "P-256", text(point[1:1+half]), text(point[1+half:])
	case ed25519.PublicKey:
		key["kty"], key["crv"], key["x"] = "OKP", "Ed25519", text(k)
	}
	return json.Marshal(map[string]any{"keys": []any{key}})
}
