package work

import (
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"math/big"
	"os"
	"path/filepath"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// Forgery is the key set that makes a forged token as expensive as possible: eight RSA
// keys of 4096 bits without a kid, which the verifier tries one after another, and two
// keys with a kid, on P-521 and P-256. Forgery has the private keys of the last RSA key
// and of the key on P-256; see [Forgery.New].
type Forgery struct {
	Path  string // the file of the JWKS
	rsa   *rsa.PrivateKey
	curve Signer
}

const rsaBits = 4096

// NewForgery makes the keys, and writes their set into dir.
func NewForgery(dir string) (*Forgery, error) {
	f := &Forgery{Path: filepath.Join(dir, "flood.json")}
	var err error
	if f.rsa, err = rsa.GenerateKey(rand.Reader, rsaBits); err != nil {
		return nil, err
	}
	if f.curve, err = NewSigner("ES256"); err != nil {
		return nil, err
	}
	text := base64.RawURLEncoding.EncodeToString
	var keys []any
	for range 7 {
		n := make([]byte, rsaBits/8)
		if _, err := rand.Read(n); err != nil {
			return nil, err
		}
		n[0], n[len(n)-1] = n[0]|0x80, n[len(n)-1]|1 // any odd number costs as much as a product of primes
		keys = append(keys, map[string]string{"kty": "RSA", "alg": "RS256", "e": "AQAB", "n": text(n)})
	}
	keys = append(keys, map[string]string{"kty": "RSA", "alg": "RS256", "e": text(big.NewInt(int64(f.rsa.E)).Bytes()), "n": text(f.rsa.N.Bytes())})
	set, err := f.curve.JWKS()
	if err != nil {
		return nil, err
	}
	var one struct{ Keys []any }
	if err := json.Unmarshal(set, &one); err != nil {
		return nil, err
	}
	// The base point of P-521 (FIPS 186-5, SP 800-186 section 3.2.1.5) is a public key.
	keys = append(keys, append(one.Keys, map[string]string{
		"kty": "EC", "crv": "P-521", "alg": "ES512", "kid": slowKeyID,
		"x": text(unhex("00c6858e06b70404e9cd9e3ecb662395b4429c648139053fb521f828af606b4d3dbaa14b5e77efe75928fe1dc127a2ffa8de3348b3c1856a429bf97e7e31c2e5bd66")),
		"y": text(unhex("011839296a789a3bc0045c8a5fb42c7d1bd998f54449579b446817afbd17273e662c97ee72995ef42640c550b9013fad0761353c7086a272c24088be94769fd16650")),
	})...)
	if set, err = json.Marshal(map[string]any{"keys": keys}); err != nil {
		return nil, err
	}
	return f, os.WriteFile(f.Path, set, 0o600)
}

const slowKeyID = "slow"

func unhex(s string) []byte {
	n, ok := new(big.Int).SetString(s, 16)
	if !ok {
		panic(s)
	}
	return n.FillBytes(make([]byte, len(s)/2))
}

// Nameless returns a forged token without a kid. It costs eight RSA checks of 4096 bits.
func (f *Forgery) Nameless() (string, error) {
	signature := make([]byte, rsaBits/8)
	_, err := rand.Read(signature)
	signature[0] = 0 // so that the signature is smaller than each modulus
	return forged(map[string]any{"alg": "RS256"}, signature), err
}

// Slow returns a forged token with the kid of the key on P-521. It costs one check, of
// the slowest algorithm.
func (f *Forgery) Slow() (string, error) {
	signature := make([]byte, 2*66)
	_, err := rand.Read(signature)
	signature[0], signature[66] = 0, 0 // so that both numbers are smaller than the order
	return forged(map[string]any{"alg": "ES512", "kid": slowKeyID}, signature), err
}

func forged(header map[string]any, signature []byte) string {
	part := func(v map[string]any) string {
		text, err := json.Marshal(v)
		if err != nil {
			panic(err)
		}
		return base64.RawURLEncoding.EncodeToString(text)
	}
	return part(header) + "." + part(claimsOf("forged")) + "." + base64.RawURLEncoding.EncodeToString(signature)
}

func claimsOf(id string) jwt.MapClaims {
	now := time.Now()
	return jwt.MapClaims{"iss": Issuer, "aud": Audience, "sub": "alice", "jti": id, "iat": now.Unix(), "exp": now.Add(24 * time.Hour).Unix()}
}

// New returns n good tokens that no server has seen. Three of four name their key. The
// fourth is signed by the last key without a kid, which the verifier finds after eight
// checks.
func (f *Forgery) New(n int) ([]string, error) {
	tokens := make([]string, n)
	for i := range tokens {
		var err error
		id := fmt.Sprintf("new-%d-%d", i, time.Now().UnixNano())
		if i%4 != 0 {
			t := jwt.NewWithClaims(jwt.SigningMethodES256, claimsOf(id))
			maps.Copy(t.Header, map[string]any{"kid": KeyID})
			tokens[i], err = t.SignedString(f.curve.Private)
		} else {
			tokens[i], err = jwt.NewWithClaims(jwt.SigningMethodRS256, claimsOf(id)).SignedString(f.rsa)
		}
		if err != nil {
			return nil, err
		}
	}
	return tokens, nil
}
