package e2e

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/go-jose/go-jose/v4"
	"github.com/zitadel/oidc/v3/example/server/storage"
	"github.com/zitadel/oidc/v3/pkg/op"
)

// A provider is the provider of zitadel/oidc with its example storage. Only the keys, and
// the access tokens, which are JWTs, are our own.
type provider struct {
	*storage.Storage
	*httptest.Server
	url   string
	asked atomic.Uint64 // requests for the keys

	mu      sync.Mutex
	signing *signingKey
	keys    []*signingKey // what is published
}

var _ op.ClientCredentialsStorage = (*provider)(nil)

func newProvider(t *testing.T) *provider {
	t.Helper()
	p := &provider{signing: newSigningKey(t, 0)}
	encrypts := newSigningKey(t, 0)
	encrypts.use = "enc"
	p.keys = []*signingKey{encrypts, p.signing}
	var handler http.Handler
	p.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/keys" {
			p.asked.Add(1)
		}
		handler.ServeHTTP(w, r)
	}))
	p.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError) // of clients that hang up
	p.url = "https://" + p.Listener.Addr().String()
	p.Storage = storage.NewStorage(storage.NewUserStore(p.url))
	made, err := op.NewProvider(&op.Config{CryptoKey: [32]byte{1}, CryptoKeyId: "crypto"}, p, op.StaticIssuer(p.url),
		op.WithLogger(slog.New(slog.DiscardHandler)))
	if err != nil {
		t.Fatal(err)
	}
	handler = made
	p.StartTLS()
	t.Cleanup(p.Close)
	return p
}

// fetch gets a token with the client's credentials.
func (p *provider) fetch() (token, kid string, err error) {
	form := url.Values{"grant_type": {"client_credentials"}, "scope": {"openid"}}
	r, err := http.NewRequest(http.MethodPost, p.url+"/oauth/token", strings.NewReader(form.Encode()))
	if err != nil {
		return "", "", err
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.SetBasicAuth("sid1", "verysecret")
	resp, err := p.Client().Do(r)
	if err != nil {
		return "", "", err
	}
	defer resp.Body.Close()
	var answer struct {
		AccessToken string `json:"access_token"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil || resp.StatusCode != http.StatusOK {
		return "", "", fmt.Errorf("the provider answers %d: %w", resp.StatusCode, err)
	}
	algorithms := []jose.SignatureAlgorithm{jose.RS256, jose.ES256, jose.PS256, jose.EdDSA}
	signed, err := jose.ParseSigned(answer.AccessToken, algorithms)
	if err != nil {
		return "", "", err
	}
	return answer.AccessToken, signed.Signatures[0].Header.KeyID, nil
}

func (p *provider) token(t *testing.T) string {
	t.Helper()
	token, _, err := p.fetch()
	if err != nil {
		t.Fatal(err)
	}
	return token
}

func (p *provider) publish(k *signingKey) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.keys = append(p.keys, k)
}

// signWith returns the id of the key that signed before.
func (p *provider) signWith(k *signingKey) (before string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	before, p.signing = p.signing.id, k
	return before
}

func (p *provider) withdraw(kid string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.keys = slices.DeleteFunc(slices.Clone(p.keys), func(k *signingKey) bool { return k.id == kid })
}

// replace publishes the key, signs with it and withdraws the previous one, all at once.
func (p *provider) replace(k *signingKey) (before string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	before, p.signing = p.signing.id, k
	p.keys = slices.DeleteFunc(slices.Clone(p.keys), func(k *signingKey) bool { return k.id == before })
	p.keys = append(p.keys, k)
	return before
}

func (p *provider) publishes(kid string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.ContainsFunc(p.keys, func(k *signingKey) bool { return k.id == kid })
}

// SigningKey implements op.Storage, as do the next two methods.
func (p *provider) SigningKey(context.Context) (op.SigningKey, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.signing, nil
}

func (p *provider) KeySet(context.Context) ([]op.Key, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	var keys []op.Key
	for _, k := range p.keys {
		keys = append(keys, publicKey{k})
	}
	return keys, nil
}

func (p *provider) SignatureAlgorithms(context.Context) ([]jose.SignatureAlgorithm, error) {
	return []jose.SignatureAlgorithm{jose.RS256, jose.ES256, jose.PS256, jose.EdDSA}, nil
}

// ClientCredentials implements op.ClientCredentialsStorage.
func (p *provider) ClientCredentials(ctx context.Context, id, secret string) (op.Client, error) {
	c, err := p.Storage.ClientCredentials(ctx, id, secret)
	return jwtClient{c}, err
}

type jwtClient struct{ op.Client }

func (jwtClient) AccessTokenType() op.AccessTokenType { return op.AccessTokenTypeJWT }

type signingKey struct {
	id, use string
	alg     jose.SignatureAlgorithm
	key     crypto.Signer
}

func (k *signingKey) SignatureAlgorithm() jose.SignatureAlgorithm { return k.alg }
func (k *signingKey) Key() any                                    { return k.key }
func (k *signingKey) ID() string                                  { return k.id }

type publicKey struct{ *signingKey }

func (k publicKey) Algorithm() jose.SignatureAlgorithm { return k.alg }
func (k publicKey) Use() string                        { return k.use }
func (k publicKey) Key() any                           { return k.key.Public() }

// newSigningKey returns one of the i-th kind.
func newSigningKey(t *testing.T, i int) *signingKey {
	t.Helper()
	k := &signingKey{id: rand.Text(), use: "sig"}
	var err error
	switch i % 4 {
	case 0:
		k.alg = jose.ES256
		k.key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case 1:
		k.alg = jose.RS256
		k.key, err = rsa.GenerateKey(rand.Reader, 2048)
	case 2:
		k.alg = jose.EdDSA
		_, k.key, err = ed25519.GenerateKey(rand.Reader)
	case 3:
		k.alg = jose.PS256
		k.key, err = rsa.GenerateKey(rand.Reader, 2048)
	}
	if err != nil {
		t.Fatal(err)
	}
	return k
}
