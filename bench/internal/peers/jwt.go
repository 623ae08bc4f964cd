package peers

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"math/big"
	"strings"
	"time"

	"github.com/MicahParks/keyfunc/v3"
	"github.com/coreos/go-oidc/v3/oidc"
	jose "github.com/go-jose/go-jose/v4"
	josejwt "github.com/go-jose/go-jose/v4/jwt"
	"github.com/golang-jwt/jwt/v5"
	"github.com/lestrrat-go/jwx/v3/jwk"
	jwxjwt "github.com/lestrrat-go/jwx/v3/jwt"

	"github.com/tokenagent/tokenagent/bench/internal/work"
)

// A JWTPeer checks the signature, issuer, audience and times of a signed token, as an
// agent does. A peer that reads a JWKS gets the same one as the agent.
type JWTPeer struct {
	Name  string
	Check func(token string) error
}

// JWT returns the peers that check the tokens of s, golang-jwt first.
func JWT(ctx context.Context, s work.Signer) ([]JWTPeer, error) {
	set, err := s.JWKS()
	if err != nil {
		return nil, err
	}
	parser := jwt.NewParser(jwt.WithValidMethods([]string{s.Algorithm}), jwt.WithIssuer(work.Issuer),
		jwt.WithAudience(work.Audience), jwt.WithExpirationRequired(), jwt.WithIssuedAt())
	var fixed jwt.Keyfunc = func(*jwt.Token) (any, error) { return s.Public, nil }
	kf, err := keyfunc.NewJWKSetJSON(set)
	if err != nil {
		return nil, err
	}
	jwxKeys, err := jwk.Parse(set)
	if err != nil {
		return nil, err
	}
	algorithms := []jose.SignatureAlgorithm{jose.SignatureAlgorithm(s.Algorithm)}
	peers := []JWTPeer{
		{"golang-jwt", func(token string) error { _, err := parser.Parse(token, fixed); return err }},
		{"keyfunc", func(token string) error { _, err := parser.Parse(token, kf.Keyfunc); return err }},
		{"go-jose", func(token string) error {
			t, err := josejwt.ParseSigned(token, algorithms)
			if err != nil {
				return err
			}
			var c josejwt.Claims
			if err := t.Claims(s.Public, &c); err != nil {
				return err
			}
			return c.Validate(josejwt.Expected{Issuer: work.Issuer, AnyAudience: josejwt.Audience{work.Audience}, Time: time.Now()})
		}},
		{"jwx", func(token string) error {
			_, err := jwxjwt.ParseString(token, jwxjwt.WithKeySet(jwxKeys), jwxjwt.WithIssuer(work.Issuer), jwxjwt.WithAudience(work.Audience))
			return err
		}},
	}
	if s.Algorithm == "HS256" { // go-oidc does not support shared secrets
		return peers, nil
	}
	v := oidc.NewVerifier(work.Issuer, &oidc.StaticKeySet{PublicKeys: []crypto.PublicKey{s.Public}},
		&oidc.Config{ClientID: work.Audience, SupportedSigningAlgs: []string{s.Algorithm}})
	return append(peers, JWTPeer{"go-oidc", func(token string) error { _, err := v.Verify(ctx, token); return err }}), nil
}

// Primitive returns the floor of a first check: the standard library verifies the
// signature, and nothing else is checked.
func Primitive(s work.Signer) func(token string) error {
	bad := errors.New("the signature is invalid")
	return func(token string) error {
		dot := strings.LastIndexByte(token, '.')
		signed := []byte(token[:dot])
		signature, err := base64.RawURLEncoding.DecodeString(token[dot+1:])
		if err != nil {
			return err
		}
		good := false
		switch k := s.Public.(type) {
		case []byte:
			mac := hmac.New(sha256.New, k)
			mac.Write(signed)
			good = hmac.Equal(mac.Sum(nil), signature)
		case *rsa.PublicKey:
			sum := sha256.Sum256(signed)
			good = rsa.VerifyPKCS1v15(k, crypto.SHA256, sum[:], signature) == nil
		case *ecdsa.PublicKey:
			sum := sha256.Sum256(signed)
			half := len(signature) / 2
			good = ecdsa.Verify(k, sum[:], new(big.Int).SetBytes(signature[:half]), new(big.Int).SetBytes(signature[half:]))
		case ed25519.PublicKey:
			good = ed25519.Verify(k, signed, signature)
		}
		if !good {
			return bad
		}
		return nil
	}
}
