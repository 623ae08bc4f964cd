package jwt

import (
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
	"fmt"
	"math/big"
	"strings"
	"testing"
)

func pemOf(tb testing.TB, public any) []byte {
	tb.Helper()
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		tb.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
}

// TestThumbprints holds IDs to the examples of the RFCs.
func TestThumbprints(t *testing.T) {
	t.Parallel()
	raw := func(s string) []byte {
		b, err := base64.RawURLEncoding.DecodeString(s)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	for name, c := range map[string]struct {
		material any
		want     string
	}{
		"RFC 7638 section 3.1":  {&rsa.PublicKey{E: 65537, N: new(big.Int).SetBytes(raw("0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw"))}, "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"},
		"RFC 8037 appendix A.3": {ed25519.PublicKey(raw("11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo")), "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"},
	} {
		k, err := NewKey(KeyConfig{Material: c.material})
		if err != nil {
			t.Fatal(err)
		}
		id := k.ID()
		if got := base64.RawURLEncoding.EncodeToString(id[:]); got != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
}

func TestNewKeyRefuses(t *testing.T) {
	t.Parallel()
	weak, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	p224, err := ecdsa.GenerateKey(elliptic.P224(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	keys := signingKeys()
	off := &ecdsa.PublicKey{Curve: elliptic.P256(), X: big.NewInt(1), Y: big.NewInt(1)} //nolint:staticcheck // the other ways refuse it
	for name, c := range map[string]struct {
		cfg  KeyConfig
		want string
	}{
		"private RSA":           {KeyConfig{Material: keys["RS256"].private}, "private key"},
		"private EC":            {KeyConfig{Material: keys["ES256"].private}, "private key"},
		"private Ed25519":       {KeyConfig{Material: keys["EdDSA"].private}, "private key"},
		"short secret":          {KeyConfig{Material: make([]byte, 31)}, "31 bytes; HS256 needs at least 32"},
		"short for its alg":     {KeyConfig{Algorithm: "HS512", Material: make([]byte, 63)}, "needs at least 64"},
		"empty secret":          {KeyConfig{Material: []byte{}}, "0 bytes"},
		"weak RSA":              {KeyConfig{Material: &weak.PublicKey}, "1024 bits"},
		"huge RSA":              {KeyConfig{Material: &rsa.PublicKey{E: 3, N: new(big.Int).Lsh(big.NewInt(1), 9000)}}, "9001 bits; at most"},
		"RSA exponent 1":        {KeyConfig{Material: &rsa.PublicKey{E: 1, N: weakN(2048)}}, "exponent"},
		"another curve":         {KeyConfig{Material: &p224.PublicKey}, "no key of a kind"},
		"off its curve":         {KeyConfig{Material: off}, "no point on its curve"},
		"EC for another alg":    {KeyConfig{Algorithm: "ES384", Material: keys["ES256"].public}, "it is for ES256"},
		"RSA for HMAC":          {KeyConfig{Algorithm: "HS256", Material: keys["RS256"].public}, "it is for RS256"},
		"secret for RSA":        {KeyConfig{Algorithm: "RS256", Material: make([]byte, 64)}, "it is for HS256"},
		"Ed25519 for ECDSA":     {KeyConfig{Algorithm: "ES256", Material: keys["EdDSA"].public}, "it is for EdDSA"},
		"none":                  {KeyConfig{Algorithm: "none", Material: make([]byte, 64)}, "an algorithm that is none of"},
		"nil RSA":               {KeyConfig{Material: (*rsa.PublicKey)(nil)}, "no key of a kind"},
		"nil EC":                {KeyConfig{Algorithm: "ES256", Material: (*ecdsa.PublicKey)(nil)}, "no key of a kind"},
		"nothing":               {KeyConfig{}, "no key of a kind"},
		"nothing, with alg":     {KeyConfig{Algorithm: "RS256"}, "no key of a kind"},
		"Ed25519, identity":     {KeyConfig{Material: ed25519.PublicKey(append([]byte{1}, make([]byte, 31)...))}, "small order"},
		"Ed25519, order 4":      {KeyConfig{Material: ed25519.PublicKey(make([]byte, 32))}, "small order"},
		"Ed25519, order 8":      {KeyConfig{Material: ed25519.PublicKey(unhex(t, "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"))}, "small order"},
		"Ed25519, order 8 too":  {KeyConfig{Material: ed25519.PublicKey(unhex(t, "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa"))}, "small order"},
		"Ed25519, order 2":      {KeyConfig{Material: ed25519.PublicKey(unhex(t, "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"))}, "small order"},
		"Ed25519, order 1, p+1": {KeyConfig{Material: ed25519.PublicKey(unhex(t, "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"))}, "small order"},
		"Ed25519, order 4, p":   {KeyConfig{Material: ed25519.PublicKey(unhex(t, "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"))}, "small order"},
		"Ed25519, order 2, -x":  {KeyConfig{Material: ed25519.PublicKey(unhex(t, "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff"))}, "small order"},
		"Ed25519 of 31 bytes":   {KeyConfig{Material: ed25519.PublicKey(make([]byte, 31))}, "not 32 bytes"},
	} {
		if _, err := NewKey(c.cfg); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

func unhex(t *testing.T, text string) []byte {
	t.Helper()
	b, err := hex.DecodeString(text)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func weakN(bits uint) *big.Int {
	n := new(big.Int).Lsh(big.NewInt(1), bits-1)
	return n.Add(n, big.NewInt(1))
}

// TestP7_KeysShowNothing looks for an HMAC secret in all that a key says.
func TestP7_KeysShowNothing(t *testing.T) {
	t.Parallel()
	const secret = "CANARY-92-CANARY-92-CANARY-92-CANARY"
	k, err := NewKey(KeyConfig{KeyID: "k1", Material: []byte(secret)})
	if err != nil {
		t.Fatal(err)
	}
	set := keySet(t, nil, k)
	v := verifier(t, set, nil)
	for _, one := range []any{k, &k, set, v, struct{ k Key }{k}, struct{ v *Verifier }{v}, []Key{k}} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%q", "%d"} {
			said := fmt.Sprintf(verb, one)
			for _, form := range []string{"CANARY", fmt.Sprintf("%x", "CANARY"), "67 65 78 65 82 89", "0x43, 0x41"} {
				if strings.Contains(said, form) {
					t.Errorf("%T as %s: %s", one, verb, said)
				}
			}
		}
		if b, err := json.Marshal(one); err == nil && strings.Contains(string(b), "CANARY") {
			t.Errorf("%T as JSON: %s", one, b)
		}
	}
}
