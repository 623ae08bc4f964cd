package jwks

import (
	"bytes"
	"context"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"math/big"
	"net/netip"
	"net/url"
	"strings"
	"testing"

	"github.com/tokenagent/tokenagent/internal/jwt"
	"github.com/tokenagent/tokenagent/internal/rotation"
	"github.com/tokenagent/tokenagent/pkg/verify"
)

// FuzzParse parses any input with a canary in it: Parse never panics, no error quotes the
// input, and accepted keys verify exactly the tokens that they signed.
func FuzzParse(f *testing.F) {
	ec, rs, ed := signers()["ES256"], signers()["RS256"], signers()["EdDSA"]
	for _, seed := range []string{
		string(set(ec.jwk("kid", "a"), rs.jwk(), ed.jwk("use", "sig"))), string(text(ec.jwk())), rfc7517HS, rfc7517RSA,
		string(ec.pem(f)) + string(rs.pem(f)), string(rs.pkcs8(f)), "a-secret-of-32-bytes-is-enough-1", "kid a\njti b\n# c", strings.Repeat("0", 64), `{"keys":[{"kty":"zz","kid":"zz","alg":"zz","n":"zz"}]}`, "kid\nzzzz", "2026-01-02T03:04:05Z",
	} {
		f.Add([]byte(seed), []byte(seed), true)
		f.Add([]byte(seed), []byte("CANARY"), false)
	}
	token := ec.sign(f, "a")
	f.Fuzz(func(t *testing.T, a, b []byte, remote bool) {
		a = bytes.ReplaceAll(a, []byte("zz"), []byte("CANARY"))
		o := ParseOptions{Name: "f", Remote: remote}
		hold(t, token, ec)(Parse(a, o))
		hold(t, token, ec)(ParseKeys(map[string][]byte{KeyJWKS: a, KeyRevoked: b}, o))
		hold(t, token, ec)(ParseKeys(map[string][]byte{KeyCurrent: a, KeyNext: b, KeyPrevious: a, KeyPreviousUntil: b, KeyRevoked: a, KeyRetired: b, KeyUnrevoked: a}, o))
	})
}

func hold(t *testing.T, token string, signer signer) func(Keys, error) {
	t.Helper()
	return func(k Keys, err error) {
		t.Helper()
		for _, e := range append(k.Skipped, err) {
			if e != nil && strings.Contains(e.Error(), "CANARY") {
				t.Fatalf("quotes: %v", e)
			}
		}
		if err != nil {
			if k.Decls != nil || k.Retired != nil || k.Unrevoked != nil {
				t.Fatalf("%s beside %v", show(k), err)
			}
			return
		}
		if len(k.Decls) == 0 || len(k.Decls) > maxKeys {
			t.Fatalf("%d keys", len(k.Decls))
		}
		theirs := false
		for _, d := range k.Decls {
			if d.ID != d.Value.ID() || d.ID == (rotation.ID{}) || d.Value.Algorithm() == "" {
				t.Fatalf("%s declared under another name", d.Value)
			}
			if !d.Until.IsZero() && d.Slot != rotation.Previous {
				t.Fatalf("a deadline on %s", d.Slot)
			}
			theirs = theirs || d.Value.Algorithm() == "ES256" && (d.Value.KeyID() == "a" || d.Value.KeyID() == "") && d.ID == idOf(t, signer)
		}
		// The one token at hand is accepted where its key is, and by no other.
		_, err = verifier(t, k).Verify(context.Background(), token)
		switch {
		case err == nil && !theirs:
			t.Fatalf("%s accepts a token that none of them signed", show(k))
		case err != nil && theirs && len(k.Revoked) == 0 && errors.Is(err, verify.ErrInvalidToken) && len(k.Decls) <= 8 && k.Decls[0].Until.IsZero():
			t.Fatalf("%s refuses what one of them signed: %v", show(k), err)
		}
	}
}

// FuzzSpelling: a key in any spelling has the same material and thumbprint as in its
// canonical spelling.
func FuzzSpelling(f *testing.F) {
	for _, s := range []signer{signers()["RS256"], signers()["ES256"], signers()["ES384"], signers()["ES512"], signers()["EdDSA"]} {
		m := s.jwk()
		kty := m["kty"].(string)
		var crv, x, y string
		if kty == "RSA" {
			x, y = m["n"].(string), m["e"].(string)
		} else {
			crv, x = m["crv"].(string), m["x"].(string)
			y, _ = m["y"].(string)
		}
		f.Add(kty, crv, x, y)
		f.Add(kty, crv, x+"==", "AA"+y)
		f.Add(kty, crv, strings.NewReplacer("-", "+", "_", "/").Replace(x), y+"\n")
		f.Add(kty, crv, "AAAA"+x, y)
	}
	f.Fuzz(func(t *testing.T, kty, crv, a, b string) {
		members := func(a, b string) map[string]any {
			m := map[string]any{"kty": kty, "crv": crv}
			if kty == "RSA" {
				m["n"], m["e"] = a, b
			} else {
				m["x"], m["y"] = a, b
			}
			return m
		}
		if kty == "oct" {
			return
		}
		k, err := Parse(set(members(a, b)), ParseOptions{})
		if err != nil {
			return
		}
		got := k.Decls[0].Value
		canonical := signer{got.Algorithm(), nil, got.PublicKey()}.jwk()
		if e, ok := got.PublicKey().(*rsa.PublicKey); ok {
			canonical["e"] = b64(big.NewInt(int64(e.E)).Bytes())
		}
		again, err := Parse(set(canonical), ParseOptions{})
		if err != nil || again.Decls[0].ID != got.ID() {
			t.Fatalf("the canonical spelling is another key, or none: %v", err)
		}
		if !numbersEqual(t, canonical, members(a, b)) {
			t.Fatalf("%q %q became another key", a, b)
		}
	})
}

// numbersEqual reports whether the members are the same, as numbers, by a way of
// decoding of its own.
func numbersEqual(t *testing.T, canonical, spelled map[string]any) bool {
	t.Helper()
	value := func(v any) *big.Int {
		s, _ := v.(string)
		s = strings.NewReplacer("-", "+", "_", "/", "=", "", "\r", "", "\n", "").Replace(s)
		b, err := base64.RawStdEncoding.DecodeString(s)
		check(t, err)
		return new(big.Int).SetBytes(b)
	}
	for _, m := range []string{"n", "e", "x", "y"} {
		if want, there := canonical[m]; there && value(want).Cmp(value(spelled[m])) != 0 {
			return false
		}
	}
	return true
}

func idOf(t *testing.T, s signer) rotation.ID {
	t.Helper()
	k, err := jwt.NewKey(jwt.KeyConfig{Algorithm: s.alg, Material: s.public})
	check(t, err)
	return k.ID()
}

// FuzzMetadata checks that an accepted metadata document is of the issuer, as encoding/json
// reads it, and leads to https on another machine, and that no error quotes the document.
func FuzzMetadata(f *testing.F) {
	for _, seed := range []string{
		metadata(idp, idpKeys), metadata(idp+"/", "https://127.0.0.1"), metadata(idp, "https://[::ffff:7f00:1]:1/"), metadata(idp, "http://localhost/"),
		metadata(idp, "https://2130706433"), `{"issuer":"https:\/\/idp.example","jwks_uri":"https:\u002f\u002fa"}`, `{"issuer":1}`, `{"a":{"issuer":"x"}}`, `[]`, "null",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, document string) {
		document = strings.ReplaceAll(document, "zz", "CANARY")
		d := &discovery{issuer: idp, host: "idp.example"}
		l, err := d.parse([]byte(document))
		if err != nil {
			if strings.Contains(err.Error(), "CANARY") {
				t.Fatalf("quotes: %v", err)
			}
			return
		}
		var m map[string]any
		check(t, json.Unmarshal([]byte(document), &m))
		u, err := url.Parse(l.url)
		check(t, err)
		if m["issuer"] != idp || u.Scheme != "https" || u.User != nil || strings.Contains(l.name, "?") || u.Host != l.host {
			t.Fatalf("%v leads to %+v", m, l)
		}
		if addr, err := netip.ParseAddr(u.Hostname()); err == nil && (addr.IsLoopback() || addr.IsUnspecified() || addr.IsLinkLocalUnicast()) || strings.EqualFold(u.Hostname(), "localhost") {
			t.Fatalf("leads to %s", u.Host)
		}
	})
}
