package jwks

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	gojwt "github.com/golang-jwt/jwt/v5"
	"go.uber.org/goleak"

	"github.com/tokenagent/tokenagent/internal/jwt"
	"github.com/tokenagent/tokenagent/internal/rotation"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is how long a test waits before it gives up. It is no measure of how
// long anything should take.
const patience = 20 * time.Second

const canary = "CANARY-6f1c-0123456789-abcdefghijklmnopqrstuvwxyz-0123456789-abcdefg" // long enough for HS512

func check(tb testing.TB, errs ...error) {
	tb.Helper()
	for _, err := range errs {
		if err != nil {
			tb.Fatal(err)
		}
	}
}

func b64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

// A signer is a key pair, or a secret.
type signer struct {
	alg     string
	private any
	public  any
}

// signers has one of each algorithm, made once: RSA keys take a while.
var signers = sync.OnceValue(func() map[string]signer {
	out := make(map[string]signer)
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	for _, alg := range []string{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"} {
		out[alg] = signer{alg, rsaKey, &rsaKey.PublicKey}
	}
	for alg, curve := range map[string]elliptic.Curve{"ES256": elliptic.P256(), "ES384": elliptic.P384(), "ES512": elliptic.P521()} {
		k, err := ecdsa.GenerateKey(curve, rand.Reader)
		if err != nil {
			panic(err)
		}
		out[alg] = signer{alg, k, &k.PublicKey}
	}
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		panic(err)
	}
	out["EdDSA"] = signer{"EdDSA", private, public}
	for _, alg := range []string{"HS256", "HS384", "HS512"} {
		out[alg] = signer{alg, []byte(canary), []byte(canary)}
	}
	return out
})

func newEC(tb testing.TB) signer {
	tb.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	check(tb, err)
	return signer{"ES256", k, &k.PublicKey}
}

// jwk returns the members of the signer's public key. extra ones are put over them.
func (s signer) jwk(extra ...string) map[string]any {
	m := map[string]any{"alg": s.alg}
	switch k := s.public.(type) {
	case []byte:
		m["kty"], m["k"] = "oct", b64(k)
	case *rsa.PublicKey:
		m["kty"], m["n"], m["e"] = "RSA", b64(k.N.Bytes()), "AQAB"
	case ed25519.PublicKey:
		m["kty"], m["crv"], m["x"] = "OKP", "Ed25519", b64(k)
	case *ecdsa.PublicKey:
		point, err := k.Bytes()
		if err != nil {
			panic(err)
		}
		half := (len(point) - 1) / 2
		m["kty"], m["crv"], m["x"], m["y"] = "EC", k.Params().Name, b64(point[1:1+half]), b64(point[1+half:])
	}
	for i := 0; i < len(extra); i += 2 {
		m[extra[i]] = extra[i+1]
	}
	return m
}

func without(m map[string]any, names ...string) map[string]any {
	for _, n := range names {
		delete(m, n)
	}
	return m
}

func text(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return b
}

func set(keys ...map[string]any) []byte { return text(map[string]any{"keys": keys}) }

func (s signer) pem(tb testing.TB) []byte {
	tb.Helper()
	der, err := x509.MarshalPKIXPublicKey(s.public)
	check(tb, err)
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
}

func (s signer) pkcs8(tb testing.TB) []byte {
	tb.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(s.private.(crypto.PrivateKey))
	check(tb, err)
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
}

// sign returns a good token of the signer.
func (s signer) sign(tb testing.TB, kid string) string {
	tb.Helper()
	token := gojwt.NewWithClaims(gojwt.GetSigningMethod(s.alg), gojwt.MapClaims{
		"iss": "issuer", "aud": "audience", "sub": "subject", "exp": time.Now().Add(24 * time.Hour).Unix(),
	})
	if kid != "" {
		token.Header["kid"] = kid
	}
	signed, err := token.SignedString(s.private)
	check(tb, err)
	return signed
}

// verifier accepts what the keys sign, and nothing else.
func verifier(tb testing.TB, k Keys) *jwt.Verifier {
	tb.Helper()
	set := jwt.NewKeySet(rotation.Advance(nil, k.Content, time.Now(), rotation.Window{}), "keys", nil, nil)
	iss, err := jwt.NewIssuer(func() *jwt.KeySet { return set }, jwt.Config{Issuer: "issuer", Audiences: []string{"audience"}})
	check(tb, err)
	return jwt.NewVerifier(0, iss)
}

func accepts(tb testing.TB, k Keys, token string) error {
	tb.Helper()
	_, err := verifier(tb, k).Verify(context.Background(), token)
	return err
}

// show writes keys as algorithm, kid and slot.
func show(k Keys) string {
	var words []string
	for _, d := range k.Decls {
		var names []string
		for _, k := range d.Value.Names() {
			names = append(names, k.Algorithm()+"/"+k.KeyID())
		}
		w := strings.Join(names, "+") + ":" + d.Slot.String()
		if !d.Until.IsZero() {
			w += "@" + d.Until.UTC().Format(time.RFC3339)
		}
		words = append(words, w)
	}
	for _, id := range k.Revoked {
		words = append(words, fmt.Sprintf("revoked:%x", id[:2]))
	}
	if len(k.Skipped) > 0 {
		words = append(words, fmt.Sprintf("skipped:%d", len(k.Skipped)))
	}
	return strings.Join(words, " ")
}
