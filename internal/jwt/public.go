package jwt

import (
	"crypto/x509"
	"encoding/json"

	"github.com/tokenagent/tokenagent/internal/rotation"
)

// A publicKey is the form of a public key in the state file.
type publicKey struct {
	Public    []byte `json:"public"` // PKIX DER
	Algorithm string `json:"alg"`
	KeyID     string `json:"kid,omitempty"`
}

// EncodePublic returns the JSON of a public key for the state file. It returns nil for an
// HMAC secret, so a restart forgets a superseded secret that the source does not declare.
func EncodePublic(k Key) json.RawMessage {
	der, err := x509.MarshalPKIXPublicKey(k.PublicKey())
	if err != nil {
		return nil // an HMAC secret
	}
	text, _ := json.Marshal(publicKey{der, k.Algorithm(), k.KeyID()}) // strings can be marshaled
	return text
}

// DecodePublic returns the key that EncodePublic stored in e. The result is false if e
// holds no key with its ID.
func DecodePublic(e rotation.SnapshotEntry) (k Key, ok bool) {
	var stored publicKey
	if json.Unmarshal(e.Value, &stored) != nil {
		return k, false
	}
	public, err := x509.ParsePKIXPublicKey(stored.Public)
	if err != nil {
		return k, false
	}
	k, err = NewKey(KeyConfig{KeyID: stored.KeyID, Algorithm: stored.Algorithm, Material: public})
	return k, err == nil && k.ID() == e.ID
}
