package jwks

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tokenagent/tokenagent/internal/rotation"
	"github.com/tokenagent/tokenagent/pkg/verify"
)

// certificate returns one of s, by issuer or by itself, that has expired.
func certificate(t *testing.T, s signer, name string, issuer *x509.Certificate, by any) (*x509.Certificate, []byte) {
	t.Helper()
	c := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Unix(0, 0), NotAfter: time.Unix(1, 0), IsCA: true, BasicConstraintsValid: true,
	}
	if issuer == nil {
		issuer, by = c, s.private
	}
	der, err := x509.CreateCertificate(rand.Reader, c, issuer, s.public, by)
	check(t, err)
	c, err = x509.ParseCertificate(der)
	check(t, err)
	return c, block("CERTIFICATE", der)
}

func block(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}

func join(parts ...any) []byte {
	var b bytes.Buffer
	for _, p := range parts {
		fmt.Fprintf(&b, "%s", p)
	}
	return b.Bytes()
}

func TestPEM(t *testing.T) {
	t.Parallel()
	rs, ec, ed := signers()["RS256"], signers()["ES256"], signers()["EdDSA"]
	root, rootPEM := certificate(t, ec, "root", nil, nil)
	_, leafPEM := certificate(t, rs, "leaf", root, ec.private)
	_, otherPEM := certificate(t, newEC(t), "other", nil, nil)
	_, renewedPEM := certificate(t, newEC(t), "root", nil, nil)
	pkcs1 := block("RSA PUBLIC KEY", x509.MarshalPKCS1PublicKey(rs.public.(*rsa.PublicKey)))
	sec1, err := x509.MarshalECPrivateKey(ec.private.(*ecdsa.PrivateKey))
	check(t, err)
	spki := rs.pem(t)
	body := string(spki[len("-----BEGIN PUBLIC KEY-----\n"):])
	for name, c := range map[string]struct {
		text []byte
		want string
	}{
		"SPKI":                       {spki, "RS256/:current"},
		"bom, blanks, CRLF":          {bytes.ReplaceAll(join("\xef\xbb\xbf\n \n", spki, "\n\n"), []byte("\n"), []byte("\r\n")), "RS256/:current"},
		"no newline at its end":      {bytes.TrimSpace(spki), "RS256/:current"},
		"PKCS #1":                    {pkcs1, "RS256/:current"},
		"expired certificate":        {leafPEM, "RS256/:current"},
		"several":                    {join(spki, "\n", ec.pem(t), ed.pem(t)), "RS256/:current ES256/:listed EdDSA/:listed"},
		"the same twice":             {join(spki, pkcs1), "RS256/:current RS256/:listed"},
		"two certificates":           {join(rootPEM, otherPEM), "ES256/:current ES256/:listed"},
		"a self-signed one, renewed": {join(renewedPEM, rootPEM), "ES256/:current ES256/:listed"},
		"chain":                      {join(leafPEM, rootPEM), fmt.Sprintf("k.pem:%d: the issuer of a certificate above", 1+bytes.Count(leafPEM, []byte("\n")))},
		"PKCS #8 private":            {rs.pkcs8(t), "k.pem:1: a private key, which signs; give the public key alone (openssl pkey -pubout)"},
		"PKCS #1 private":            {block("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(rs.private.(*rsa.PrivateKey))), "k.pem:1: a private key"},
		"SEC 1 private":              {block("EC PRIVATE KEY", sec1), "k.pem:1: a private key"},
		"encrypted private":          {block("ENCRYPTED PRIVATE KEY", sec1), "k.pem:1: a private key"},
		"OpenSSH private":            {block("OPENSSH PRIVATE KEY", sec1), "k.pem:1: a private key"},
		"private behind public":      {join(spki, rs.pkcs8(t)), "k.pem:10: a private key"},
		"parameters":                 {join(block("EC PARAMETERS", sec1), ec.pem(t)), "k.pem:1: a PEM block of another kind"},
		"request":                    {block("CERTIFICATE REQUEST", sec1), "k.pem:1: a PEM block of another kind"},
		"private that says public":   {block("PUBLIC KEY", sec1), "k.pem:1: a PEM block whose content does not fit its type"},
		"text behind":                {join(spki, canary), "k.pem:10: text outside of the PEM blocks"},
		"text between":               {join(spki, canary, "\n", spki), "k.pem:10: text outside of the PEM blocks"},
		"text on the END line":       {join(bytes.TrimSpace(spki), canary), "k.pem:1: a PEM block that is broken"},
		"cut off":                    {spki[:200], "k.pem:1: a PEM block that is broken"},
		"cut off before another":     {join(spki[:200], "\n", spki), "k.pem:1: a PEM block that is broken"},
		"no base64":                  {join("-----BEGIN PUBLIC KEY-----\n", canary, "\n-----END PUBLIC KEY-----\n"), "k.pem:1: a PEM block that is broken"},
		"another END":                {join("-----BEGIN RSA PUBLIC KEY-----\n", body), "k.pem:1: a PEM block that is broken"},
		"headers":                    {join("-----BEGIN PUBLIC KEY-----\nProc-Type: CANARY\n\n", body), "k.pem:1: a PEM block with headers"},
	} {
		k, err := Parse(c.text, ParseOptions{Name: "k.pem"})
		got := show(k)
		if err != nil {
			got = err.Error()
			if k.Decls != nil || strings.Contains(got, "CANARY") {
				t.Errorf("%s: %s, %v", name, show(k), err)
			}
		}
		if !strings.HasPrefix(got, c.want) {
			t.Errorf("%s: %s; want %s", name, got, c.want)
		}
	}
	k, err := Parse(leafPEM, ParseOptions{})
	check(t, err)
	check(t, accepts(t, k, rs.sign(t, "")))
}

func TestSecret(t *testing.T) {
	t.Parallel()
	const good = "a-secret-of-32-bytes-is-enough-1"
	der, err := x509.MarshalPKIXPublicKey(signers()["ES256"].public)
	check(t, err)
	b64 := base64.StdEncoding.EncodeToString
	for name, c := range map[string]struct{ text, alg, want string }{
		"plain":               {good, "", "HS256/:current"},
		"surrounded":          {"\xef\xbb\xbf\r\n\t" + good + " \r\n", "", "HS256/:current"},
		"pinned":              {canary, "HS512", "HS512/:current"},
		"base64 of a secret":  {b64([]byte(good)), "", "HS256/:current"},
		"empty":               {" \r\n", "", "s: empty; put a verification key there"},
		"short":               {good[:31], "", "s: an HMAC secret of 31 bytes; HS256 needs at least 32"},
		"short for its hash":  {good, "HS384", "s: an HMAC secret of 32 bytes; HS384 needs at least 48"},
		"pinned to another":   {good, "RS256", "s: text that is neither PEM nor JSON, so an HMAC secret, which does not fit the algorithm RS256"},
		"a space in it":       {canary + " " + good, "", "s: neither JSON, nor PEM, nor an HMAC secret of one word of printable ASCII"},
		"two lines":           {canary + "\n" + good, "", "s: neither JSON"},
		"binary":              {canary + "\x00", "", "s: neither JSON"},
		"not ASCII":           {canary + "é", "", "s: neither JSON"},
		"DER":                 {string(der), "", "s: neither JSON"},
		"ssh key":             {"ssh-ed25519 " + canary, "", "s: neither JSON"},
		"array":               {`[{"kty":"RSA","n":"` + canary + `"}]`, "", "s: a document, but not a key set"},
		"page":                {"<html><body>" + canary + "</body></html>", "", "s: a document, but not a key set"},
		"quoted":              {`"` + canary + `"`, "", "s: a document, but not a key set"},
		"address":             {"HTTPS://idp.example/" + canary, "", "s: the address of a key set"},
		"key without BEGIN":   {b64(der), "", "s: the base64 of a document"},
		"PEM, encoded again":  {b64(signers()["ES256"].pem(t)), "", "s: the base64 of a document"},
		"JWKS, encoded again": {b64(set(signers()["ES256"].jwk())), "", "s: the base64 of a document"},
		"token":               {signers()["ES256"].sign(t, ""), "", "s: the base64 of a document, or a token"},
	} {
		k, err := Parse([]byte(c.text), ParseOptions{Name: "s", Algorithm: c.alg})
		got := show(k)
		if err != nil {
			got = err.Error()
			if k.Decls != nil || strings.Contains(got, "CANARY") {
				t.Errorf("%s: %s, %v", name, show(k), err)
			}
		}
		if !strings.HasPrefix(got, c.want) {
			t.Errorf("%s: %s; want %s", name, got, c.want)
		}
	}
}

func TestParseKeys(t *testing.T) {
	t.Parallel()
	type m = map[string][]byte
	a, b, c := newEC(t), newEC(t), newEC(t)
	until := []byte(" 2026-01-02T03:04:05Z\n")
	for name, c := range map[string]struct {
		keys m
		want string
	}{
		"set":                {m{"jwks.json": set(a.jwk("kid", "a"), b.jwk("kid", "b"))}, "ES256/a:listed ES256/b:listed"},
		"one JWK":            {m{"jwks.json": text(a.jwk())}, "ES256/:current"},
		"key":                {m{"key": a.pem(t)}, "ES256/:current"},
		"all":                {m{"key": a.pem(t), "key-next": text(b.jwk("kid", "b")), "key-previous": []byte(canary), "key-previous-until": until}, "ES256/:current ES256/b:next HS256/:previous@2026-01-02T03:04:05Z"},
		"undated previous":   {m{"key": a.pem(t), "key-previous": c.pem(t)}, "ES256/:current ES256/:previous"},
		"until alone":        {m{"key": a.pem(t), "key-previous-until": []byte("never")}, "ES256/:current"},
		"the same key":       {m{"key": a.pem(t), "key-next": a.pem(t)}, "ES256/:current ES256/:next"},
		"same, another kid":  {m{"key": a.pem(t), "key-next": text(a.jwk("kid", "x"))}, "mount/key-next: the same key as before"},
		"one kid":            {m{"key": text(a.jwk("kid", "x")), "key-next": text(b.jwk("kid", "x"))}, "mount/key-next: the same kid and algorithm as another key"},
		"foreign keys":       {m{"key": a.pem(t), "tls.key": []byte(canary)}, "ES256/:current"},
		"set and key":        {m{"jwks.json": set(a.jwk()), "key": a.pem(t)}, "mount: there is jwks.json, and also key"},
		"set and empty next": {m{"jwks.json": set(a.jwk()), "key-next": nil}, "mount: there is jwks.json, and also key"},
		"nothing":            {m{}, "mount: no key jwks.json or key;"},
		"next alone":         {m{"key-next": a.pem(t)}, "mount: no key jwks.json or key;"},
		"empty key":          {m{"key": nil}, "mount/key: empty"},
		"empty next":         {m{"key": a.pem(t), "key-next": []byte("\n")}, "mount/key-next: empty"},
		"empty set":          {m{"jwks.json": nil}, "mount/jwks.json: empty"},
		"PEM for a set":      {m{"jwks.json": a.pem(t)}, "mount/jwks.json:1: not JSON"},
		"secret for a set":   {m{"jwks.json": []byte(canary)}, "mount/jwks.json:1: not JSON"},
		"set for a key":      {m{"key": set(a.jwk())}, "mount/key: a set of keys in the place of one key; put it under jwks.json"},
		"two PEM blocks":     {m{"key": join(a.pem(t), b.pem(t))}, "mount/key:5: a second PEM block"},
		"invalid set":        {m{"jwks.json": set(a.jwk(), a.jwk("use", "enc"))}, "mount/jwks.json: keys[1]: its use"},
		"until is no time":   {m{"key": a.pem(t), "key-previous": c.pem(t), "key-previous-until": []byte("CANARY")}, "mount/key-previous-until: the deadline is not an RFC 3339 time"},
		"until is empty":     {m{"key": a.pem(t), "key-previous": c.pem(t), "key-previous-until": nil}, "mount/key-previous-until: the deadline is no"},
		"revoked malformed":  {m{"key": a.pem(t), "revoked": []byte("\nCANARY")}, "mount/revoked:2: a revocation is"},
	} {
		k, err := ParseKeys(c.keys, ParseOptions{Name: "mount/"})
		got := show(k)
		if err != nil {
			got = err.Error()
			if k.Decls != nil || strings.Contains(got, "CANARY") {
				t.Errorf("%s: %s, %v", name, show(k), err)
			}
		}
		if !strings.HasPrefix(got, c.want) {
			t.Errorf("%s: %s; want %s", name, got, c.want)
		}
	}
}

func TestRevocations(t *testing.T) {
	t.Parallel()
	s := newEC(t)
	k, err := Parse(text(s.jwk("kid", "the name")), ParseOptions{})
	check(t, err)
	id := k.Decls[0].ID
	token := s.sign(t, "the name")
	for line, want := range map[string]rotation.ID{
		fmt.Sprintf("%x", id):   id,
		fmt.Sprintf("%X\r", id): id,
		" " + b64(id[:]) + "\t": id,
		"revoked " + b64(id[:]): id,
		"kid  the name ":        verify.RevokedKeyID("the name"),
		"kid ключ":              verify.RevokedKeyID("ключ"),
		"kid #1":                verify.RevokedKeyID("#1"),
		"jti\tone":              verify.RevokedTokenID("one"),
		fmt.Sprintf("%x", verify.SigningInputDigest(token)): verify.SigningInputDigest(token),
	} {
		got, err := ParseKeys(map[string][]byte{KeyCurrent: text(s.jwk("kid", "the name")), KeyRevoked: []byte("\xef\xbb\xbf# why\r\n\r\n" + line + "\n")}, ParseOptions{})
		if err != nil || len(got.Revoked) != 1 || got.Revoked[0] != want {
			t.Errorf("%q: %s, %v", line, show(got), err)
		}
		refused := accepts(t, got, token) != nil
		if concerns := want != verify.RevokedTokenID("one") && !strings.Contains(line, "ключ") && !strings.Contains(line, "#1"); refused != concerns {
			t.Errorf("%q: the token is refused: %v", line, refused)
		}
	}
	for _, line := range []string{
		"kid", "jti", "abcd", strings.Repeat("g", 64), strings.Repeat("0", 63), strings.Repeat("!", 43), b64(id[:])[:42] + "_", b64(id[:]) + "=",
		"sub " + canary, fmt.Sprintf("%x why", id), "revoked", "revoked revoked", b64(id[:]) + " " + b64(id[:]),
	} {
		got, err := ParseKeys(map[string][]byte{KeyCurrent: s.pem(t), KeyRevoked: []byte(line)}, ParseOptions{Name: "d"})
		if len(got.Revoked) != 0 {
			t.Errorf("%q revokes something: %s", line, show(got))
		}
		if err == nil || !strings.HasPrefix(err.Error(), "d/revoked:1: a revocation is ") || strings.Contains(err.Error(), "CANARY") {
			t.Errorf("%q: %v", line, err)
		}
	}
}

// TestRetiredAndUnrevokedKeys: retired accepts only thumbprints, unrevoked accepts all that
// revoked does, and neither takes effect if a key is invalid.
func TestRetiredAndUnrevokedKeys(t *testing.T) {
	t.Parallel()
	s := newEC(t)
	k, err := Parse(s.pem(t), ParseOptions{})
	check(t, err)
	id := k.Decls[0].ID
	keys := map[string][]byte{
		KeyCurrent:   newEC(t).pem(t),
		KeyRetired:   fmt.Appendf(nil, "# old\n%x\nretired %s\n", id, b64(id[:])),
		KeyUnrevoked: fmt.Appendf(nil, "%x\nunrevoked kid a\njti b\n", id),
	}
	got, err := ParseKeys(keys, ParseOptions{})
	if err != nil || !slices.Equal(got.Retired, []rotation.ID{id, id}) || !slices.Equal(got.Unrevoked, []rotation.ID{id, verify.RevokedKeyID("a"), verify.RevokedTokenID("b")}) {
		t.Errorf("retired %d, unrevoked %d, %v", len(got.Retired), len(got.Unrevoked), err)
	}
	keys[KeyCurrent] = []byte("short")
	if got, err := ParseKeys(keys, ParseOptions{}); err == nil || len(got.Retired)+len(got.Unrevoked) > 0 {
		t.Errorf("beside a bad key: retired %d, unrevoked %d, %v", len(got.Retired), len(got.Unrevoked), err)
	}
	for key, want := range map[string]string{KeyRetired: "d/retired:2: a retirement is ", KeyUnrevoked: "d/unrevoked:2: a revocation is "} {
		for _, line := range []string{"nonsense", "revoked " + b64(id[:]), "sub x"} {
			_, err := ParseKeys(map[string][]byte{KeyCurrent: s.pem(t), key: []byte("\n" + line)}, ParseOptions{Name: "d"})
			if err == nil || !strings.HasPrefix(err.Error(), want) {
				t.Errorf("%s %q: %v", key, line, err)
			}
		}
	}
	if _, err := ParseKeys(map[string][]byte{KeyCurrent: s.pem(t), KeyRetired: []byte("kid a")}, ParseOptions{}); err == nil {
		t.Error("a name is retired")
	}
}

// TestP3_KeyRevocationOutlivesMalformedContent: a well-formed revocation takes effect
// although the rest of the content is invalid.
func TestP3_KeyRevocationOutlivesMalformedContent(t *testing.T) {
	t.Parallel()
	id := verify.RevokedKeyID("leaked")
	for name, keys := range map[string]map[string][]byte{
		"no keys":        {},
		"bad key":        {KeyCurrent: []byte("short")},
		"bad set":        {KeyJWKS: []byte("{")},
		"bad deadline":   {KeyCurrent: newEC(t).pem(t), KeyPrevious: newEC(t).pem(t), KeyPreviousUntil: []byte("x")},
		"set beside key": {KeyCurrent: newEC(t).pem(t), KeyJWKS: set(newEC(t).jwk())},
	} {
		keys[KeyRevoked] = []byte("kid leaked\n")
		got, err := ParseKeys(keys, ParseOptions{})
		if err == nil {
			t.Errorf("%s: no error", name)
		}
		if !slices.Equal(got.Revoked, []rotation.ID{id}) || got.Decls != nil {
			t.Errorf("%s: %s, want the revocation alone", name, show(got))
		}
	}
	for _, lines := range []string{"nonsense\nkid leaked", "kid leaked\nnonsense"} {
		got, err := ParseKeys(map[string][]byte{KeyCurrent: newEC(t).pem(t), KeyRevoked: []byte(lines)}, ParseOptions{})
		if err == nil || len(got.Revoked) != 1 {
			t.Errorf("%q: %s, %v", lines, show(got), err)
		}
	}
}
