package work

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"time"

	gojwt "github.com/golang-jwt/jwt/v5"

	"github.com/tokenagent/tokenagent/agent"
	"github.com/tokenagent/tokenagent/internal/jwt"
	"github.com/tokenagent/tokenagent/internal/rotation"
)

// The issuer, the audience and the kid of every signed token.
const (
	Issuer   = "https://issuer.example"
	Audience = "orders"
	KeyID    = "k1"
)

// A Signer signs tokens with one algorithm.
type Signer struct {
	Algorithm string
	Private   any              // the private key for golang-jwt; for HS256 the secret
	Public    crypto.PublicKey // for HS256 the secret, as []byte
}

// NewSigner makes a key for HS256, RS256 (2048 bits), ES256 or EdDSA.
func NewSigner(algorithm string) (Signer, error) {
	s := Signer{Algorithm: algorithm}
	var err error
	switch algorithm {
	case "HS256":
		secret := make([]byte, 32)
		_, err = rand.Read(secret)
		s.Private, s.Public = secret, secret
	case "RS256":
		var k *rsa.PrivateKey
		if k, err = rsa.GenerateKey(rand.Reader, 2048); err == nil {
			s.Private, s.Public = k, &k.PublicKey
		}
	case "ES256":
		var k *ecdsa.PrivateKey
		if k, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err == nil {
			s.Private, s.Public = k, &k.PublicKey
		}
	case "EdDSA":
		s.Public, s.Private, err = ed25519.GenerateKey(rand.Reader)
	default:
		err = fmt.Errorf("no such algorithm: %s", algorithm)
	}
	return s, err
}

// Sign returns a token with the jti id that is valid for a day.
func (s Signer) Sign(id int) (string, error) {
	now := time.Now()
	t := gojwt.NewWithClaims(gojwt.GetSigningMethod(s.Algorithm), gojwt.MapClaims{
		"iss": Issuer, "aud": Audience, "sub": "system:serviceaccount:shop:orders", "jti": strconv.Itoa(id),
		"iat": now.Unix(), "nbf": now.Unix(), "exp": now.Add(24 * time.Hour).Unix(),
	})
	t.Header["kid"] = KeyID
	return t.SignedString(s.Private)
}

// SignAll returns n tokens, with the jtis 0 to n-1.
func (s Signer) SignAll(n int) ([]string, error) {
	tokens := make([]string, n)
	for i := range tokens {
		var err error
		if tokens[i], err = s.Sign(i); err != nil {
			return nil, err
		}
	}
	return tokens, nil
}

// JWTVerifier returns a verifier of the tokens of s, with an empty cache. The size of
// the cache is that of [jwt.NewVerifier].
func (s Signer) JWTVerifier(cache int) (*jwt.Verifier, error) {
	k, err := jwt.NewKey(jwt.KeyConfig{KeyID: KeyID, Algorithm: s.Algorithm, Material: s.Public})
	if err != nil {
		return nil, err
	}
	ledger := rotation.Advance(nil, rotation.Content[jwt.Key]{Decls: []rotation.Decl[jwt.Key]{{ID: k.ID(), Slot: rotation.Current, Value: k}}}, time.Now(), rotation.Window{})
	set := jwt.NewKeySet(ledger, "keys", nil, nil)
	iss, err := jwt.NewIssuer(func() *jwt.KeySet { return set }, jwt.Config{Issuer: Issuer, Audiences: []string{Audience}})
	if err != nil {
		return nil, err
	}
	return jwt.NewVerifier(cache, iss), nil
}

// JWTAgent starts an agent that accepts tokens signed by the keys of jwks, from one issuer
// and as many more as others says. It writes jwks to a file in dir. The agent polls that file once
// an hour, so that the benchmarks do not measure the watch.
func JWTAgent(ctx context.Context, dir string, jwks []byte, cache, others int) (*agent.Agent, error) {
	path := filepath.Join(dir, "jwks.json")
	if err := os.WriteFile(path, jwks, 0o600); err != nil {
		return nil, err
	}
	var issuers []agent.Issuer
	for i := range others {
		name := fmt.Sprintf("other-%d", i)
		issuers = append(issuers, agent.Issuer{Name: name, KeyFile: path, JWT: agent.JWT{Issuer: Issuer + "/" + name, Audiences: []string{Audience}}})
	}
	issuers = append(issuers, agent.Issuer{Name: "keys", KeyFile: path, JWT: agent.JWT{Issuer: Issuer, Audiences: []string{Audience}}})
	return agent.Start(ctx, agent.Config{
		Issuers: issuers, JWTCache: cache, PollOnly: true, Poll: time.Hour, Logger: slog.New(slog.DiscardHandler),
	})
}
