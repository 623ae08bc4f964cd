package jwks

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"fmt"
	"math/big"
	"strings"
	"testing"

	"github.com/tokenagent/tokenagent/internal/jwt"
	"github.com/tokenagent/tokenagent/internal/rotation"
)

// TestEveryAlgorithmVerifies: a key that was read from any form verifies the signatures
// that golang-jwt makes.
func TestEveryAlgorithmVerifies(t *testing.T) {
	t.Parallel()
	for alg, s := range signers() {
		forms := map[string][]byte{
			"set": set(s.jwk("kid", "a", "use", "sig")), "jwk": text(s.jwk("kid", "a")),
			"jwk without alg": text(without(s.jwk("kid", "a"), "alg")),
		}
		if secret, ok := s.public.([]byte); ok {
			forms["text"] = append(append([]byte("\xef\xbb\xbf \r\n"), secret...), "\r\n"...)
		} else {
			forms["pem"] = s.pem(t)
		}
		for name, content := range forms {
			k, err := Parse(content, ParseOptions{Algorithm: alg})
			if err != nil {
				t.Errorf("%s as %s: %v", alg, name, err)
				continue
			}
			if err := accepts(t, k, s.sign(t, "a")); err != nil {
				t.Errorf("%s as %s: %v", alg, name, err)
			}
			if want := rotation.Current; name != "set" && k.Decls[0].Slot != want || name == "set" && k.Decls[0].Slot != rotation.Listed {
				t.Errorf("%s as %s is %s", alg, name, k.Decls[0].Slot)
			}
			other := newEC(t)
			if err := accepts(t, k, other.sign(t, "a")); err == nil {
				t.Errorf("%s as %s verifies what another key signed", alg, name)
			}
		}
	}
}

// The public keys and the secrets of RFC 7517 appendix A, and the Ed25519 key of
// RFC 8037 appendix A.2.
const (
	rfc7517EC  = `{"kty":"EC","crv":"P-256","x":"MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4","y":"4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM","use":"enc","kid":"1"}`
	rfc7517RSA = `{"kty":"RSA","n":"0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw","e":"AQAB","alg":"RS256","kid":"2011-04-29"}`
	rfc7517KW  = `{"kty":"oct","alg":"A128KW","k":"GawgguFyGrWKav7AX4VKUg"}`
	rfc7517HS  = `{"kty":"oct","k":"AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow","kid":"HMAC key used in JWS spec Appendix A.1 example"}`
	rfc8037    = `{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}`
)

func TestVectors(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		text   string
		remote bool
		want   string // what show says, or the error
	}{
		"RFC 7517 A.1":         {`{"keys":[` + rfc7517EC + "," + rfc7517RSA + "]}", false, "key source: keys[0]: its use is not sig"},
		"RFC 7517 A.1, remote": {`{"keys":[` + rfc7517EC + "," + rfc7517RSA + "]}", true, "RS256/2011-04-29:listed skipped:1"},
		"RFC 7517 A.3":         {`{"keys":[` + rfc7517HS + "," + rfc7517KW + "]}", false, "key source: keys[1]: an algorithm that is none of"},
		"RFC 7517 A.3, HMAC":   {rfc7517HS, false, "HS256/HMAC key used in JWS spec Appendix A.1 example:current"},
		"RFC 7517 A.3, remote": {`{"keys":[` + rfc7517HS + "," + rfc7517KW + "]}", true, "key source: none of its 2 keys can verify signatures; the first: a secret:"},
		"RFC 8037 A.2":         {rfc8037, false, "EdDSA/:current"},
	} {
		k, err := Parse([]byte(c.text), ParseOptions{Remote: c.remote})
		got := show(k)
		if err != nil {
			got = err.Error()
		}
		if !strings.HasPrefix(got, c.want) {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
	for content, thumbprint := range map[string]string{
		rfc7517RSA: "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs", // RFC 7638 section 3.1
		rfc8037:    "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k", // RFC 8037 appendix A.3
	} {
		k, err := Parse([]byte(content), ParseOptions{})
		check(t, err)
		if id := k.Decls[0].ID; b64(id[:]) != thumbprint {
			t.Errorf("thumbprint %s, want %s", b64(id[:]), thumbprint)
		}
		dir, err := ParseKeys(map[string][]byte{KeyCurrent: []byte(content), KeyRevoked: []byte(thumbprint)}, ParseOptions{})
		check(t, err)
		if dir.Revoked[0] != k.Decls[0].ID {
			t.Errorf("%s revokes another key", thumbprint)
		}
	}
}

// TestJWKErrors: in a file, an invalid key is an error with its index. From a server, the
// key is skipped.
func TestJWKErrors(t *testing.T) {
	t.Parallel()
	ec, ed, rs, hs := signers()["ES256"], signers()["EdDSA"], signers()["RS256"], signers()["HS256"]
	weak, err := rsa.GenerateKey(rand.Reader, 1024)
	check(t, err)
	point, err := base64.RawURLEncoding.DecodeString(ec.jwk()["x"].(string))
	check(t, err)
	long := new(big.Int).Add(new(big.Int).Lsh(big.NewInt(1), 64), big.NewInt(65537)) // whose low 64 bits are a good exponent
	with := func(m map[string]any, name string, value any) map[string]any { m[name] = value; return m }
	for name, c := range map[string]struct {
		key  map[string]any
		want string
	}{
		"no kty":                   {without(ec.jwk(), "kty"), errKty.Error()},
		"unknown kty":              {ec.jwk("kty", canary), errKty.Error()},
		"kty in another case":      {without(with(ec.jwk(), "Kty", "EC"), "kty"), errKty.Error()},
		"weak RSA":                 {signer{"RS256", weak, &weak.PublicKey}.jwk(), "an RSA key of 1024 bits"},
		"other curve":              {ec.jwk("crv", "P-384"), errMaterial.Error()},
		"curve of another alg":     {ec.jwk("alg", "ES384"), "a key that does not fit its algorithm ES384"},
		"secp256k1":                {ec.jwk("crv", "secp256k1"), errCrv.Error()},
		"Ed448":                    {ed.jwk("crv", "Ed448"), errCrv.Error()},
		"X25519":                   {ed.jwk("crv", "X25519"), errCrv.Error()},
		"OKP on an EC curve":       {ed.jwk("crv", "P-256"), errCrv.Error()},
		"RSA for HMAC":             {rs.jwk("alg", "HS256"), "a key that does not fit its algorithm HS256"},
		"alg none":                 {rs.jwk("alg", "none"), "an algorithm that is none of"},
		"alg in another case":      {rs.jwk("alg", "rs256"), "an algorithm that is none of"},
		"alg for encryption":       {rs.jwk("alg", "RSA-OAEP"), "an algorithm that is none of"},
		"use enc":                  {rs.jwk("use", "enc"), errUse.Error()},
		"use no text":              {with(rs.jwk(), "use", 1), "its use is not text"},
		"key_ops":                  {with(rs.jwk(), "key_ops", []string{"sign"}), errOps.Error()},
		"key_ops text":             {rs.jwk("key_ops", "verify"), errOps.Error()},
		"private d":                {ec.jwk("d", canary), errPrivate.Error()},
		"private oth":              {with(rs.jwk(), "oth", []int{1}), errPrivate.Error()},
		"kid no text":              {with(ec.jwk(), "kid", 7), "its kid is not text"},
		"kid too long":             {ec.jwk("kid", strings.Repeat("x", 1025)), errKid.Error()},
		"no n":                     {without(rs.jwk(), "n"), errMaterial.Error()},
		"off the curve":            {ec.jwk("x", ec.jwk()["y"].(string)), errMaterial.Error()},
		"Ed25519 of 31 bytes":      {ed.jwk("x", b64(make([]byte, 31))), "an Ed25519 key that is not 32 bytes long"},
		"Ed25519 with a zero":      {ed.jwk("x", b64(append([]byte{0}, ed.public.(ed25519.PublicKey)...))), "an Ed25519 key that is not 32 bytes long"},
		"coordinate too long":      {ec.jwk("x", b64(append([]byte{1}, point...))), errMaterial.Error()},
		"no base64":                {ec.jwk("x", canary+"!"), "its x is not base64url"},
		"exponent over an int":     {rs.jwk("e", b64(long.Bytes())), "its e is larger than"},
		"even exponent":            {rs.jwk("e", b64([]byte{4})), "an RSA key with an even modulus"},
		"short secret":             {signer{"HS256", nil, []byte("short")}.jwk(), "an HMAC secret of 5 bytes"},
		"secret short for its alg": {signer{"HS512", nil, []byte(canary[:63])}.jwk(), "an HMAC secret of 63 bytes; HS512 needs at least 64"},
		"secret for RSA":           {hs.jwk("alg", "RS256"), "a key that does not fit its algorithm RS256"},
		"the kid and alg of a key": {newEC(t).jwk("kid", "first"), "the same kid and algorithm as another key"},
	} {
		first := newEC(t).jwk("kid", "first")
		_, err := Parse(set(first, c.key), ParseOptions{Name: "/etc/keys.json"})
		if want := "/etc/keys.json: keys[1]: " + c.want; err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%s: %v; want %s", name, err, want)
		} else if strings.Contains(err.Error(), "CANARY") {
			t.Errorf("%s: the error quotes: %v", name, err)
		}
		k, err := Parse(set(c.key, first), ParseOptions{Name: "/etc/keys.json", Remote: true})
		switch {
		case err != nil:
			t.Errorf("%s, remote: %v", name, err)
		case strings.HasPrefix(name, "the kid"):
			if len(k.Decls) != 2 {
				t.Errorf("%s, remote: %s; both have the name, and each may have signed", name, show(k))
			}
		case show(k) != "ES256/first:listed skipped:1":
			t.Errorf("%s, remote: %s", name, show(k))
		case !strings.HasPrefix(k.Skipped[0].Error(), "/etc/keys.json: keys[0]: ") || strings.Contains(k.Skipped[0].Error(), "CANARY"):
			t.Errorf("%s, remote: %v", name, k.Skipped[0])
		}
	}
}

// TestSpellings: a key may be spelled as issuers do, and has the same thumbprint in each
// spelling.
func TestSpellings(t *testing.T) {
	t.Parallel()
	ec, ed, rs := shortSigner(t), signers()["EdDSA"], signers()["RS256"]
	bytesOf := func(s any) []byte {
		b, err := base64.RawURLEncoding.DecodeString(s.(string))
		check(t, err)
		return b
	}
	x, n, point := bytesOf(ec.jwk()["x"]), bytesOf(rs.jwk()["n"]), bytesOf(ed.jwk()["x"])
	zero := func(b []byte) string { return b64(append([]byte{0, 0}, b...)) }
	with := func(m map[string]any, name string, value any) map[string]any { m[name] = value; return m }
	for name, c := range map[string]struct {
		signer signer
		key    map[string]any
	}{
		"padded x":            {ec, ec.jwk("x", base64.URLEncoding.EncodeToString(x))},
		"padded n":            {rs, rs.jwk("n", base64.URLEncoding.EncodeToString(n))},
		"padded too much":     {rs, rs.jwk("n", b64(n)+"===")},
		"padded Ed25519":      {ed, ed.jwk("x", base64.URLEncoding.EncodeToString(point))},
		"padded e":            {rs, rs.jwk("e", "AQAB=")},
		"standard, padded":    {rs, rs.jwk("n", base64.StdEncoding.EncodeToString(n))},
		"standard":            {rs, rs.jwk("n", base64.RawStdEncoding.EncodeToString(n))},
		"line break":          {ec, ec.jwk("x", b64(x)[:20]+"\r\n"+b64(x)[20:])},
		"trailing bits":       {ec, ec.jwk("x", trailing(b64(x)))},
		"modulus with zeros":  {rs, rs.jwk("n", zero(n))},
		"exponent with zeros": {rs, rs.jwk("e", zero([]byte{1, 0, 1}))},
		"x with more zeros":   {ec, ec.jwk("x", zero(x))},
		"short x":             {ec, ec.jwk("x", b64(x[1:]))},
		"null alg":            {rs, with(rs.jwk(), "alg", nil)},
		"empty alg":           {rs, rs.jwk("alg", "")},
		"null use":            {rs, with(rs.jwk(), "use", nil)},
		"empty use":           {rs, rs.jwk("use", "")},
		"null kid":            {rs, with(rs.jwk(), "kid", nil)},
		"empty kid":           {rs, rs.jwk("kid", "")},
		"null key_ops":        {rs, with(rs.jwk(), "key_ops", nil)},
		"empty key_ops":       {rs, with(rs.jwk(), "key_ops", []string{})},
		"null private q":      {rs, with(rs.jwk(), "q", nil)},
		"empty private d":     {ec, ec.jwk("d", "")},
		"empty private oth":   {rs, with(rs.jwk(), "oth", []int{})},
		"empty crv":           {rs, rs.jwk("crv", "")},
		"null x5c":            {rs, with(rs.jwk(), "x5c", nil)},
	} {
		for _, remote := range []bool{false, true} {
			k, err := Parse(set(c.key), ParseOptions{Remote: remote})
			if err != nil || len(k.Decls) != 1 {
				t.Errorf("%s, remote %t: %s, %v %v", name, remote, show(k), err, k.Skipped)
				continue
			}
			if k.Decls[0].ID != idOf(t, c.signer) {
				t.Errorf("%s, remote %t: another thumbprint", name, remote)
			}
			if err := accepts(t, k, c.signer.sign(t, k.Decls[0].Value.KeyID())); err != nil {
				t.Errorf("%s, remote %t: %v", name, remote, err)
			}
		}
	}
}

// shortSigner returns a key whose x begins with a zero byte: one in 256 does.
func shortSigner(tb testing.TB) signer {
	tb.Helper()
	for {
		s := newEC(tb)
		if b, err := base64.RawURLEncoding.DecodeString(s.jwk()["x"].(string)); err == nil && b[0] == 0 {
			return s
		}
	}
}

// trailing sets a bit of the last character that stands for nothing.
func trailing(s string) string {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	return s[:len(s)-1] + string(alphabet[strings.IndexByte(alphabet, s[len(s)-1])+1])
}

// TestSameKeyTwice: one key with several kids and algorithms is one credential that has
// all of them.
func TestSameKeyTwice(t *testing.T) {
	t.Parallel()
	ec, rs := signers()["ES256"], signers()["RS256"]
	for name, c := range map[string]struct {
		content []byte
		want    string
	}{
		"another kid":     {set(ec.jwk("kid", "a"), ec.jwk("kid", "b")), "ES256/a+ES256/b:listed"},
		"no kid":          {set(ec.jwk(), ec.jwk()), "ES256/:listed"},
		"one without kid": {set(ec.jwk(), ec.jwk("kid", "a")), "ES256/+ES256/a:listed"},
		"new name for EdDSA": {
			set(signers()["EdDSA"].jwk(), signers()["EdDSA"].jwk("alg", "Ed25519")),
			"EdDSA/:listed",
		},
		"a name that another key has": {
			set(rs.jwk("kid", "a"), newEC(t).jwk("kid", "b"), ec.jwk("kid", "a"), ec.jwk("kid", "b")),
			"key source: keys[3]: the same kid and algorithm as another key; give each key a name of its own",
		},
		"another algorithm": {set(rs.jwk("kid", "a"), rs.jwk("kid", "a", "alg", "PS256")), "RS256/a+PS256/a:listed"},
		"one kid for two algorithms": {
			set(rs.jwk("kid", "a"), ec.jwk("kid", "a")), "RS256/a:listed ES256/a:listed",
		},
		"two without kid": {set(ec.jwk(), newEC(t).jwk()), "ES256/:listed ES256/:listed"},
	} {
		k, err := Parse(c.content, ParseOptions{})
		got := show(k)
		if err != nil {
			got = err.Error()
		}
		if !strings.HasPrefix(got, c.want) {
			t.Errorf("%s: %s; want %s", name, got, c.want)
		}
	}
	// From a server: as OpenAM and as Keycloak have it, and once too often.
	k, err := Parse(set(rs.jwk("kid", "a"), rs.jwk("kid", "a", "alg", "PS256"), rs.jwk("kid", "b"), ec.jwk("kid", "a"), rs.jwk("kid", "b")), ParseOptions{Remote: true})
	if got := show(k); err != nil || got != "RS256/a+PS256/a+RS256/b:listed ES256/a:listed" {
		t.Fatalf("%s, %v", got, err)
	}
	for _, token := range []string{rs.sign(t, "a"), signers()["PS256"].sign(t, "a"), rs.sign(t, "b"), ec.sign(t, "a")} {
		if err := accepts(t, k, token); err != nil {
			t.Error(err)
		}
	}
	k.Revoked = append(k.Revoked, k.Decls[0].ID)
	for _, token := range []string{rs.sign(t, "a"), signers()["PS256"].sign(t, "a"), rs.sign(t, "b")} {
		if err := accepts(t, k, token); err == nil {
			t.Error("the thumbprint does not revoke the key under all of its names")
		}
	}
}

func TestJSONErrors(t *testing.T) {
	t.Parallel()
	ec := string(text(signers()["ES256"].jwk()))
	for name, c := range map[string]struct{ text, want string }{
		"cut off":             {`{"keys":[` + "\n" + ec[:len(ec)-1], "k.json:2: not JSON"},
		"something behind":    {`{"keys":[` + ec + "]}\n" + canary, "k.json:2: not JSON"},
		"two documents":       {ec + ec, "k.json:1: not JSON"},
		"a member twice":      {"{\n\"keys\":[" + ec + "],\n\"keys\":[]}", "k.json:3: an object has a member twice"},
		"a key's member":      {`{"keys":[{"kty":"EC",` + ec[1:] + "]}", "k.json:1: an object has a member twice"},
		"the same, escaped":   {`{"keys":[{"\u006bty":"EC",` + ec[1:] + "]}", "k.json:1: an object has a member twice"},
		"too deep":            {`{"keys":[` + ec + `],"x":` + strings.Repeat("[", 40) + strings.Repeat("]", 40) + "}", "k.json:1: objects and arrays are nested too deep"},
		"no UTF-8":            {`{"keys":[` + ec + "],\"x\":\"\xff\"}", "k.json: not UTF-8"},
		"neither":             {`{"Keys":[` + ec + "]}", "k.json: neither a JWKS nor a JWK"},
		"both":                {`{"keys":[],` + ec[1:], `k.json: an object with both "keys" and "kty"`},
		"keys no array":       {`{"keys":` + ec + "}", `k.json: "keys" is not an array`},
		"keys null":           {`{"keys":null}`, "k.json: a key set without keys"},
		"no keys":             {`{"keys":[]}`, "k.json: a key set without keys"},
		"a key that is null":  {`{"keys":[null]}`, "k.json: keys[0]: not an object"},
		"a key that is text":  {`{"keys":[` + ec + `,"` + canary + `"]}`, "k.json: keys[1]: not an object"},
		"more than 1000 keys": {`{"keys":[` + strings.Repeat("{},", 1000) + "{}]}", "k.json: more than 1000 keys"},
		"a bad JWK":           {`{"kty":"RSA"}`, "k.json: its members are not a key"},
		"4 MiB":               {`{"keys":[` + ec + `],"x":"` + strings.Repeat("x", 4<<20) + `"}`, "k.json: over 4 MiB"},
	} {
		k, err := Parse([]byte(c.text), ParseOptions{Name: "k.json"})
		if err == nil || !strings.HasPrefix(err.Error(), c.want) || k.Decls != nil {
			t.Errorf("%s: %s, %v; want %s", name, show(k), err, c.want)
		} else if strings.Contains(err.Error(), "CANARY") {
			t.Errorf("%s quotes: %v", name, err)
		}
	}
}

func TestIgnoredMembers(t *testing.T) {
	t.Parallel()
	m := signers()["RS256"].jwk("kid", "a", "x5t", "nonsense", "x5u", "https://nowhere.invalid/", "jku", "https://nowhere.invalid/", "y5", "z", "x5t#S256", "")
	m["x5c"] = []string{"nonsense"}
	m["ext"] = true
	m["key_ops"] = []string{"verify"}
	k, err := Parse(set(m), ParseOptions{})
	if err != nil || show(k) != "RS256/a:listed" {
		t.Errorf("%s, %v", show(k), err)
	}
}

// TestPinnedAlgorithm: the option applies to keys without an algorithm, and is an error for
// a key that it does not fit.
func TestPinnedAlgorithm(t *testing.T) {
	t.Parallel()
	rs, ec := signers()["RS256"], signers()["ES256"]
	k, err := Parse(set(without(rs.jwk(), "alg"), ec.jwk()), ParseOptions{Algorithm: "PS384"})
	if err != nil || show(k) != "PS384/:listed ES256/:listed" {
		t.Errorf("%s, %v", show(k), err)
	}
	_, err = Parse(set(without(ec.jwk(), "alg")), ParseOptions{Algorithm: "PS384"})
	if err == nil || !strings.Contains(err.Error(), "keys[0]: a key that does not fit its algorithm PS384; it is for ES256") {
		t.Error(err)
	}
	for _, alg := range []string{"none", "hs256", "CANARY"} {
		_, err = Parse(rs.pem(t), ParseOptions{Name: "f", Algorithm: alg})
		want := fmt.Sprintf("f: the algorithm for keys that name none is none of %s", strings.Join(jwt.Algorithms(), ", "))
		if err == nil || err.Error() != want {
			t.Error(err)
		}
	}
}

func TestRemoteTakesAKeySetAlone(t *testing.T) {
	t.Parallel()
	rs := signers()["RS256"]
	for name, content := range map[string][]byte{
		"jwk": text(rs.jwk()), "pem": rs.pem(t), "secret": []byte(canary), "empty": nil, "page": []byte("<html>" + canary + "</html>"),
		"array": append(append([]byte("["), text(rs.jwk())...), ']'), "text": []byte(`"` + canary + `"`), "no keys": []byte(`{"keys":[]}`),
	} {
		k, err := Parse(content, ParseOptions{Name: "r", Remote: true})
		if err == nil || k.Decls != nil || strings.Contains(err.Error(), "CANARY") {
			t.Errorf("%s: %s, %v", name, show(k), err)
		}
	}
}
