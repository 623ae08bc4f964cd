package rotate_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	gojwt "github.com/golang-jwt/jwt/v5"

	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/rotate/content"
	"github.com/tokenagent/tokenagent/internal/jwt"
	"github.com/tokenagent/tokenagent/internal/kubemount"
)

// hmacCanary is an HMAC secret that nothing but a source may show.
const hmacCanary = "CANARY-1c3a9e-hmac-0123456789-0123456789-0123456789-0123456789-0123456789"

// A signer has a key pair of its own, or a secret.
type signer struct {
	alg     string
	private any
	public  string // PEM, or the secret
	key     jwt.Key
}

func newSigner(t *testing.T, alg string) signer {
	t.Helper()
	s := signer{alg: alg}
	var err error
	switch alg {
	case "HS256", "HS384", "HS512":
		s.private, s.public = []byte(hmacCanary), hmacCanary
	case "RS256", "PS256":
		s.private, err = rsa.GenerateKey(rand.Reader, 2048)
	case "ES256":
		s.private, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case "ES384":
		s.private, err = ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	default:
		_, s.private, err = ed25519.GenerateKey(rand.Reader)
	}
	if err != nil {
		t.Fatal(err)
	}
	material := s.private
	if pair, ok := s.private.(crypto.Signer); ok {
		der, err := x509.MarshalPKIXPublicKey(pair.Public())
		if err != nil {
			t.Fatal(err)
		}
		s.public = string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
		material = pair.Public()
	}
	if s.key, err = jwt.NewKey(jwt.KeyConfig{Algorithm: alg, Material: material}); err != nil {
		t.Fatal(err)
	}
	return s
}

func (s signer) fingerprint() string { return s.key.Fingerprint() }

func (s signer) thumb() string {
	id := s.key.ID()
	return base64.RawURLEncoding.EncodeToString(id[:])
}

// jwk is the public key, or the secret, as a JWK with the kid, if there is one.
func (s signer) jwk(t *testing.T, kid string) string {
	t.Helper()
	m := map[string]string{"alg": s.alg}
	if kid != "" {
		m["kid"] = kid
	}
	b64 := base64.RawURLEncoding.EncodeToString
	switch k := s.private.(type) {
	case []byte:
		m["kty"], m["k"] = "oct", b64(k)
	case *rsa.PrivateKey:
		m["kty"], m["n"], m["e"] = "RSA", b64(k.N.Bytes()), "AQAB"
	case *ecdsa.PrivateKey:
		point, _ := k.PublicKey.Bytes()
		m["kty"], m["crv"], m["x"], m["y"] = "EC", k.Params().Name, b64(point[1:1+len(point)/2]), b64(point[1+len(point)/2:])
	case ed25519.PrivateKey:
		m["kty"], m["crv"], m["x"] = "OKP", "Ed25519", b64(k.Public().(ed25519.PublicKey))
	}
	text, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func (s signer) sign(t *testing.T, kid, jti string, lasts time.Duration) string {
	t.Helper()
	now := time.Now()
	token := gojwt.NewWithClaims(gojwt.GetSigningMethod(s.alg), gojwt.MapClaims{
		"iss": "https://issuer.example", "aud": "orders", "sub": "alice", "jti": jti, "iat": now.Unix(), "exp": now.Add(lasts).Unix(),
	})
	if kid != "" {
		token.Header["kid"] = kid
	}
	text, err := token.SignedString(s.private)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// readPrivate is a signer with the private key that a step has made.
func readPrivate(t *testing.T, alg, path string) signer {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the private key has mode %v, %v", info.Mode(), err)
	}
	block, _ := pem.Decode(text)
	if block == nil {
		t.Fatal("no PEM")
	}
	private, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	s := signer{alg: alg, private: private}
	if s.key, err = jwt.NewKey(jwt.KeyConfig{Algorithm: alg, Material: private.(crypto.Signer).Public()}); err != nil {
		t.Fatal(err)
	}
	return s
}

// from puts text into a file, for --from.
func from(t *testing.T, text string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "from")
	put(t, name, text)
	return name
}

// keyBenches makes one target of each kind that has slots or a set, with one key
// under name.
func keyBenches(t *testing.T, name, text string) map[string]bench {
	t.Helper()
	plain, laid := t.TempDir(), t.TempDir()
	put(t, filepath.Join(plain, name), text)
	put(t, filepath.Join(plain, "foreign"), "f")
	if err := kubemount.Write(laid, map[string][]byte{name: []byte(text), "foreign": []byte("f")}, 0o600); err != nil {
		t.Fatal(err)
	}
	all := map[string]bench{"plain directory": path(plain), "laid out directory": path(laid), "secret": keySecret(t, map[string]string{name: text, "foreign": "f"})}
	if name == "jwks.json" {
		file := filepath.Join(t.TempDir(), "keys.json")
		put(t, file, text)
		all["file"] = path(file)
	}
	return all
}

func keySecret(t *testing.T, keys map[string]string) *secret {
	t.Helper()
	data := map[string][]byte{}
	for key, value := range keys {
		data[key] = []byte(value)
	}
	text, err := json.MarshalIndent(map[string]any{
		"apiVersion": "v1", "kind": "Secret", "data": data,
		"metadata": map[string]string{"name": "app-keys", "namespace": "shop", "resourceVersion": "41"},
	}, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	return &secret{string(text)}
}

// keys are the values of a target's keys; a file's is under "file".
func keys(t *testing.T, b bench) map[string]string {
	t.Helper()
	out := map[string]string{}
	if s, ok := b.(*secret); ok {
		var v struct{ Data map[string][]byte }
		if err := json.Unmarshal([]byte(s.text), &v); err != nil {
			t.Fatal(err)
		}
		for key, value := range v.Data {
			out[key] = string(value)
		}
		return out
	}
	p := string(b.(path))
	if info, err := os.Stat(p); err == nil && !info.IsDir() {
		text, _ := os.ReadFile(p)
		return map[string]string{"file": string(text)}
	}
	for _, key := range append(content.Names(""), "foreign") {
		if text, err := os.ReadFile(filepath.Join(p, key)); err == nil {
			out[key] = string(text)
		}
	}
	return out
}

// keyContent is what a target's keys declare.
func keyContent(t *testing.T, b bench) content.Content {
	t.Helper()
	raw, file := map[string][]byte{}, ""
	for key, value := range keys(t, b) {
		raw[key] = []byte(value)
		if key == "file" {
			file = key
		}
	}
	return parse(t, raw, file, content.Keys).Content
}

// wantKeys compares what is declared, with the signers' names for fingerprints.
func wantKeys(t *testing.T, b bench, signers map[string]signer, says string) {
	t.Helper()
	c := keyContent(t, b)
	var words []string
	say := func(slot string, k content.Credential) {
		name := k.Fingerprint()
		for n, s := range signers {
			if s.key.ID() == k.ID() {
				name = n
			}
		}
		words = append(words, slot+"="+name)
	}
	if !c.IsKeySet {
		say("current", c.Current)
	}
	for _, k := range c.Next {
		say("next", k)
	}
	for _, p := range c.Previous {
		say("previous", p.Token)
	}
	for _, k := range c.Listed {
		say("listed", k)
	}
	for _, id := range c.Revoked {
		name := hex.EncodeToString(id[:4])
		for n, s := range signers {
			if s.key.ID() == id {
				name = n
			}
		}
		words = append(words, "revoked="+name)
	}
	if got := strings.Join(words, " "); got != says {
		t.Errorf("declares %q, want %q", got, says)
	}
}
