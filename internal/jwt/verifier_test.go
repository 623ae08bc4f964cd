package jwt

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/tokenagent/tokenagent/internal/rotation"
	"github.com/tokenagent/tokenagent/pkg/verify"
)

func TestJWTAcceptsEachAlgorithm(t *testing.T) {
	t.Parallel()
	for alg, k := range signingKeys() {
		t.Run(alg, func(t *testing.T) {
			t.Parallel()
			v := verifier(t, keySet(t, nil, k.key(t, "k1")), nil)
			for _, header := range []map[string]any{{"kid": "k1"}, {}} {
				p, err := v.Verify(t.Context(), k.sign(t, claimsNow(map[string]any{"aud": []string{"x", audience}}), header))
				if err != nil {
					t.Fatalf("%v: %v", header, err)
				}
				got := []any{p.Subject(), p.Method(), p.Source(), p.KeyID(), p.Slot()}
				if want := []any{"alice", verify.MethodJWT, "keys", "k1", rotation.Listed}; !slices.Equal(got, want) {
					t.Errorf("subject, method, source, key and slot: %v, want %v", got, want)
				}
				if iss, ok := p.Claim("iss"); !ok || iss != issuer {
					t.Errorf("claim iss: %v", iss)
				}
			}
		})
	}
}

// TestJWTRefuses presents tokens that are wrong in one respect each.
func TestJWTRefuses(t *testing.T) {
	t.Parallel()
	k := signingKeys()["ES256"]
	other := signingKeys()["ES384"]
	set := keySet(t, nil, k.key(t, "k1"), other.key(t, "k2"))
	now := time.Now().Unix()
	claims := func(change map[string]any) string { return k.sign(t, claimsNow(change), map[string]any{"kid": "k1"}) }
	header := func(change map[string]any) string { return k.sign(t, claimsNow(nil), change) }
	good := claims(nil)
	dot := strings.LastIndexByte(good, '.')
	for name, c := range map[string]struct {
		token string
		want  error
		why   string
	}{
		"nothing":                     {"", verify.ErrNoToken, ""},
		"no JWT":                      {"an-opaque-token-of-old", verify.ErrInvalidToken, "compact form"},
		"two parts":                   {good[:dot], verify.ErrInvalidToken, "compact form"},
		"four parts":                  {good + ".AA", verify.ErrInvalidToken, "compact form"},
		"no signature":                {good[:dot+1], verify.ErrInvalidToken, "compact form"},
		"a byte of another alphabet":  {good[:10] + "+" + good[11:], verify.ErrInvalidToken, "compact form"},
		"padding":                     {good + "==", verify.ErrInvalidToken, "compact form"},
		"a line break":                {good[:dot+5] + "\n" + good[dot+5:], verify.ErrInvalidToken, "compact form"},
		"white space":                 {" " + good, verify.ErrInvalidToken, "compact form"},
		"a changed claim":             {k.sign(t, claimsNow(map[string]any{"sub": "bob"}), map[string]any{"kid": "k1"})[:dot-3] + good[dot-3:], verify.ErrInvalidToken, ""},
		"too long":                    {claims(map[string]any{"x": strings.Repeat("x", 20<<10)}), verify.ErrInvalidToken, "longer than"},
		"alg none":                    {base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none"}`)) + good[strings.IndexByte(good, '.'):], verify.ErrInvalidToken, "algorithm"},
		"alg NONE, no signature":      {base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"NONE"}`)) + good[strings.IndexByte(good, '.'):dot] + ".", verify.ErrInvalidToken, "compact form"},
		"alg of nobody":               {k.signRaw(t, `{"alg":"ES999"}`, text(t, claimsNow(nil))), verify.ErrInvalidToken, "algorithm"},
		"no alg":                      {k.signRaw(t, `{"kid":"k1"}`, text(t, claimsNow(nil))), verify.ErrInvalidToken, "compact form"},
		"alg a number":                {k.signRaw(t, `{"alg":1}`, text(t, claimsNow(nil))), verify.ErrInvalidToken, "compact form"},
		"unknown kid":                 {header(map[string]any{"kid": "k9"}), verify.ErrInvalidToken, "no key has the name"},
		"kid of another algorithm":    {header(map[string]any{"kid": "k2"}), verify.ErrInvalidToken, "another algorithm"},
		"kid a number":                {header(map[string]any{"kid": 1}), verify.ErrInvalidToken, "compact form"},
		"kid too long":                {header(map[string]any{"kid": strings.Repeat("k", 2000)}), verify.ErrInvalidToken, "compact form"},
		"kid a path":                  {header(map[string]any{"kid": "../../dev/null"}), verify.ErrInvalidToken, "no key has the name"},
		"another key":                 {other.sign(t, claimsNow(nil), map[string]any{"kid": "k1"}), verify.ErrInvalidToken, "another algorithm"},
		"crit":                        {header(map[string]any{"kid": "k1", "crit": []string{"exp"}}), verify.ErrInvalidToken, "crit"},
		"crit empty":                  {header(map[string]any{"kid": "k1", "crit": []string{}}), verify.ErrInvalidToken, "crit"},
		"a member twice":              {k.signRaw(t, `{"alg":"ES256","alg":"ES256","kid":"k1"}`, text(t, claimsNow(nil))), verify.ErrInvalidToken, "twice"},
		"a claim twice":               {k.signRaw(t, `{"alg":"ES256","kid":"k1"}`, strings.Replace(text(t, claimsNow(nil)), "{", `{"sub":"root",`, 1)), verify.ErrInvalidToken, "twice"},
		"a claim twice, deep":         {k.signRaw(t, `{"alg":"ES256","kid":"k1"}`, strings.Replace(text(t, claimsNow(nil)), "{", `{"x":[{"a":1,"\u0061":2}],`, 1)), verify.ErrInvalidToken, "twice"},
		"claims no object":            {k.signRaw(t, `{"alg":"ES256","kid":"k1"}`, `[1]`), verify.ErrInvalidToken, "compact form"},
		"claims null":                 {k.signRaw(t, `{"alg":"ES256","kid":"k1"}`, `null`), verify.ErrInvalidToken, "compact form"},
		"claims and more":             {k.signRaw(t, `{"alg":"ES256","kid":"k1"}`, text(t, claimsNow(nil))+"{}"), verify.ErrInvalidToken, "compact form"},
		"claims too deep":             {k.signRaw(t, `{"alg":"ES256","kid":"k1"}`, `{"x":`+strings.Repeat("[", 40)+strings.Repeat("]", 40)+`}`), verify.ErrInvalidToken, "compact form"},
		"no exp":                      {claims(map[string]any{"exp": nil}), verify.ErrInvalidToken, "exp"},
		"exp null":                    {k.signRaw(t, `{"alg":"ES256","kid":"k1"}`, strings.Replace(text(t, claimsNow(map[string]any{"exp": nil})), "{", `{"exp":null,`, 1)), verify.ErrInvalidToken, "exp"},
		"exp text":                    {claims(map[string]any{"exp": "9999999999"}), verify.ErrInvalidToken, "exp"},
		"exp beyond all time":         {claims(map[string]any{"exp": 1e300}), verify.ErrInvalidToken, "exp"},
		"exp negative":                {claims(map[string]any{"exp": -1}), verify.ErrInvalidToken, "exp"},
		"exp in other letters":        {claims(map[string]any{"exp": nil, "EXP": now + 100}), verify.ErrInvalidToken, "exp"},
		"expired":                     {claims(map[string]any{"exp": now - 31}), verify.ErrExpiredToken, "exp has come"},
		"not yet":                     {claims(map[string]any{"nbf": now + 100}), verify.ErrInvalidToken, "nbf"},
		"nbf text":                    {claims(map[string]any{"nbf": "x"}), verify.ErrInvalidToken, "nbf"},
		"iat text":                    {claims(map[string]any{"iat": "x"}), verify.ErrInvalidToken, "iat"},
		"iat null":                    {k.signRaw(t, `{"alg":"ES256","kid":"k1"}`, strings.Replace(text(t, claimsNow(map[string]any{"iat": nil})), "{", `{"iat":null,`, 1)), verify.ErrInvalidToken, "iat"},
		"iat in milliseconds":         {claims(map[string]any{"iat": now * 1000}), nil, ""},
		"iat after exp":               {claims(map[string]any{"iat": now + 100, "exp": now + 50}), nil, ""},
		"no issuer":                   {claims(map[string]any{"iss": nil}), verify.ErrInvalidToken, "iss"},
		"another issuer":              {claims(map[string]any{"iss": issuer + "/"}), verify.ErrInvalidToken, "iss"},
		"issuer a list":               {claims(map[string]any{"iss": []string{issuer}}), verify.ErrInvalidToken, "iss"},
		"no audience":                 {claims(map[string]any{"aud": nil}), verify.ErrInvalidToken, "aud"},
		"another audience":            {claims(map[string]any{"aud": []string{"x", "Orders"}}), verify.ErrInvalidToken, "aud"},
		"audience empty":              {claims(map[string]any{"aud": []string{}}), verify.ErrInvalidToken, "aud"},
		"audience a number":           {claims(map[string]any{"aud": 7}), verify.ErrInvalidToken, "aud"},
		"sub a fraction":              {claims(map[string]any{"sub": 7.5}), verify.ErrInvalidToken, "sub"},
		"sub with an exponent":        {k.signRaw(t, `{"alg":"ES256","kid":"k1"}`, strings.Replace(text(t, claimsNow(map[string]any{"sub": nil})), "{", `{"sub":1e3,`, 1)), verify.ErrInvalidToken, "sub"},
		"sub a bool":                  {claims(map[string]any{"sub": true}), verify.ErrInvalidToken, "sub"},
		"sub null":                    {k.signRaw(t, `{"alg":"ES256","kid":"k1"}`, strings.Replace(text(t, claimsNow(map[string]any{"sub": nil})), "{", `{"sub":null,`, 1)), verify.ErrInvalidToken, "sub"},
		"jti a number":                {claims(map[string]any{"jti": 7}), verify.ErrInvalidToken, "jti"},
		"keys of its own":             {other.sign(t, claimsNow(nil), map[string]any{"jwk": map[string]any{"kty": "EC"}, "jku": "https://evil.example", "x5u": "https://evil.example"}), nil, ""},
		"keys of its own, wrong ones": {signingKeys()["EdDSA"].sign(t, claimsNow(nil), map[string]any{"jwk": map[string]any{"kty": "OKP"}}), verify.ErrInvalidToken, "none is for its algorithm"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := verdictOf(verifier(t, set, nil), c.token)
			if !errors.Is(err, c.want) || c.why != "" && !strings.Contains(err.Error(), c.why) {
				t.Errorf("%v, want %v with %q", err, c.want, c.why)
			}
		})
	}
	if err := verdictOf(verifier(t, nil, nil), good); !errors.Is(err, verify.ErrUnavailable) {
		t.Errorf("nothing loaded: %v", err)
	}
	if err := verdictOf(verifier(t, set, nil), good); err != nil {
		t.Errorf("the good one: %v", err)
	}
}

// TestJWTConfusesNoAlgorithms signs by HMAC with every public form of a key that
// verifies by another algorithm.
func TestJWTConfusesNoAlgorithms(t *testing.T) {
	t.Parallel()
	rs := signingKeys()["RS256"]
	set := keySet(t, nil, rs.key(t, "k1"))
	pem := pemOf(t, rs.public)
	for name, secret := range map[string][]byte{"pem": pem, "pem, trimmed": []byte(strings.TrimSpace(string(pem))), "empty": {}} {
		forged, err := jwt.NewWithClaims(jwt.SigningMethodHS256, claimsNow(nil)).SignedString(secret)
		if err != nil {
			t.Fatal(err)
		}
		for _, kid := range []any{nil, "k1"} {
			token := signingKey{"HS256", secret, nil}.sign(t, claimsNow(nil), map[string]any{"kid": kid})
			if err := verdictOf(verifier(t, set, nil), token); !errors.Is(err, verify.ErrInvalidToken) {
				t.Errorf("%s, kid %v: %v", name, kid, err)
			}
		}
		if err := verdictOf(verifier(t, set, nil), forged); !errors.Is(err, verify.ErrInvalidToken) {
			t.Errorf("%s: %v", name, err)
		}
	}
	// RS and PS share their keys, and are two algorithms all the same.
	if err := verdictOf(verifier(t, set, nil), signingKeys()["PS256"].sign(t, claimsNow(nil), map[string]any{"kid": "k1"})); !errors.Is(err, verify.ErrInvalidToken) {
		t.Errorf("PS256 with a key that is pinned to RS256: %v", err)
	}
}

// TestJWTSignaturesOutOfRange builds invalid ECDSA signatures.
func TestJWTSignaturesOutOfRange(t *testing.T) {
	t.Parallel()
	k := signingKeys()["ES256"]
	v := verifier(t, keySet(t, nil, k.key(t, "")), nil)
	good := k.sign(t, claimsNow(nil), nil)
	input := good[:strings.LastIndexByte(good, '.')]
	n := elliptic.P256().Params().N.Bytes()
	zero := make([]byte, 32)
	for name, sig := range map[string][]byte{
		"zeros": slices.Concat(zero, zero), "r zero": slices.Concat(zero, n), "n, n": slices.Concat(n, n),
		"short": make([]byte, 63), "long": make([]byte, 65), "der": {0x30, 6, 2, 1, 1, 2, 1, 1},
	} {
		if err := verdictOf(v, input+"."+base64.RawURLEncoding.EncodeToString(sig)); !errors.Is(err, verify.ErrInvalidToken) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// twin returns the other signature that ECDSA holds as good: (r, n-s).
func twin(t *testing.T, token string) string {
	t.Helper()
	dot := strings.LastIndexByte(token, '.')
	sig, err := base64.RawURLEncoding.DecodeString(token[dot+1:])
	if err != nil {
		t.Fatal(err)
	}
	s := new(big.Int).Sub(elliptic.P256().Params().N, new(big.Int).SetBytes(sig[32:]))
	s.FillBytes(sig[32:])
	return token[:dot+1] + base64.RawURLEncoding.EncodeToString(sig)
}

// TestP3_RevokedJWTHasNoTwin revokes a token in each way, and presents it, and
// the twin of its signature.
func TestP3_RevokedJWTHasNoTwin(t *testing.T) {
	t.Parallel()
	k := signingKeys()["ES256"]
	key := k.key(t, "k1")
	token := k.sign(t, claimsNow(nil), map[string]any{"kid": "k1"})
	for name, id := range map[string]rotation.ID{
		"digest": verify.SigningInputDigest(token), "jti": verify.RevokedTokenID("t-1"), "kid": verify.RevokedKeyID("k1"), "key": key.ID(),
	} {
		set := keySet(t, nil, key)
		v := verifierOf(t, func() *KeySet { return set }, 0, nil)
		for _, one := range []string{token, twin(t, token)} {
			if err := verdictOf(v, one); err != nil {
				t.Fatalf("%s: not revoked yet: %v", name, err)
			}
		}
		set = keySet(t, []rotation.ID{id}, key)
		for _, one := range []string{token, twin(t, token)} {
			if err := verdictOf(v, one); err == nil || name != "key" && !errors.Is(err, verify.ErrRevokedToken) {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
}

// TestP2_JWTExpiresExactly asks around each boundary, from the cache and past it.
func TestP2_JWTExpiresExactly(t *testing.T) {
	t.Parallel()
	for _, size := range []int{-1, 0} {
		for configured, leeway := range map[time.Duration]time.Duration{-1: 0, 0: DefaultLeeway, time.Minute: time.Minute} {
			t.Run(fmt.Sprintf("cache %d, leeway %s", size, leeway), func(t *testing.T) {
				t.Parallel()
				k := signingKeys()["EdDSA"]
				synctest.Test(t, func(t *testing.T) {
					v := verifierOf(t, fixed(keySet(t, nil, k.key(t, ""))), size, func(c *Config) { c.Leeway = configured })
					begin := time.Now().Add(time.Hour)
					token := k.sign(t, claimsNow(map[string]any{"nbf": begin.Unix(), "exp": begin.Add(time.Minute).Unix()}), nil)
					for _, c := range []struct {
						at   time.Time
						want error
					}{
						{begin.Add(-leeway - 1), verify.ErrInvalidToken},
						{begin.Add(-leeway), nil},
						{begin, nil},
						{begin.Add(time.Minute + leeway - 1), nil},
						{begin.Add(time.Minute + leeway), verify.ErrExpiredToken},
						{begin.Add(time.Hour), verify.ErrExpiredToken},
					} {
						time.Sleep(time.Until(c.at))
						for range 2 {
							if err := verdictOf(v, token); !errors.Is(err, c.want) {
								t.Errorf("%s after nbf: %v, want %v", c.at.Sub(begin), err, c.want)
							}
						}
					}
				})
			})
		}
	}
}

// TestP2_SupersededKeyEndsAtItsDeadline: keys rotate by the rules of tokens, also
// for tokens that are cached.
func TestP2_SupersededKeyEndsAtItsDeadline(t *testing.T) {
	t.Parallel()
	k, next := signingKeys()["HS256"], signingKeys()["EdDSA"]
	synctest.Test(t, func(t *testing.T) {
		w := rotation.Window{Overlap: time.Minute}
		current := func(k Key) []rotation.Decl[Key] {
			return []rotation.Decl[Key]{{ID: k.ID(), Slot: rotation.Current, Value: k}}
		}
		l := rotation.Advance(nil, rotation.Content[Key]{Decls: current(k.key(t, ""))}, time.Now(), w)
		set := NewKeySet(l, "keys", nil, nil)
		asked := false
		v := verifierOf(t, func() *KeySet { return set }, 0, func(c *Config) { c.OnUnknownKey = func() { asked = true } })
		token := k.sign(t, claimsNow(nil), nil)
		if err := verdictOf(v, token); err != nil {
			t.Fatal(err)
		}
		set = NewKeySet(rotation.Advance(l, rotation.Content[Key]{Decls: current(next.key(t, ""))}, time.Now(), w), "keys", nil, nil)
		time.Sleep(time.Minute - 1)
		if p, err := v.Verify(t.Context(), token); err != nil || p.Slot() != rotation.Previous {
			t.Errorf("1 ns before the deadline: %v, %v", p.Slot(), err)
		}
		time.Sleep(1)
		if err := verdictOf(v, token); !errors.Is(err, verify.ErrExpiredToken) {
			t.Errorf("at the deadline: %v", err)
		}
		other := []byte(strings.Repeat("o", 32))
		forged := signingKey{k.alg, other, other}.sign(t, claimsNow(nil), nil)
		if err := verdictOf(v, forged); !errors.Is(err, verify.ErrExpiredToken) || asked {
			t.Errorf("a signature was checked with a key that has ended: %v", err)
		}
		if err := verdictOf(v, next.sign(t, claimsNow(nil), nil)); err != nil {
			t.Errorf("the new key: %v", err)
		}
	})
}

func TestJWTRequirements(t *testing.T) {
	t.Parallel()
	k := signingKeys()["HS256"]
	set := keySet(t, nil, k.key(t, ""))
	for name, c := range map[string]struct {
		require map[string][]string
		claims  map[string]any
		good    bool
	}{
		"there":            {map[string][]string{"tenant": nil}, map[string]any{"tenant": "a"}, true},
		"not there":        {map[string][]string{"tenant": nil}, nil, false},
		"text":             {map[string][]string{"tenant": {"a", "b"}}, map[string]any{"tenant": "b"}, true},
		"another text":     {map[string][]string{"tenant": {"a"}}, map[string]any{"tenant": "ab"}, false},
		"in a list":        {map[string][]string{"roles": {"writer"}}, map[string]any{"roles": []string{"reader", "writer"}}, true},
		"not in the list":  {map[string][]string{"roles": {"writer"}}, map[string]any{"roles": []any{"reader", 1, nil}}, false},
		"a word of scope":  {map[string][]string{"scope": {"b"}}, map[string]any{"scope": "a b c"}, true},
		"no word of scope": {map[string][]string{"scope": {"bb"}}, map[string]any{"scope": "a b c"}, false},
		"a number":         {map[string][]string{"n": {"12"}}, map[string]any{"n": 12}, true},
		"a bool":           {map[string][]string{"email_verified": {"true"}}, map[string]any{"email_verified": true}, true},
		"an object":        {map[string][]string{"x": {"map[]"}}, map[string]any{"x": map[string]any{}}, false},
		"one of two":       {map[string][]string{"a": {"1"}, "b": {"2"}}, map[string]any{"a": "1"}, false},
	} {
		v := verifier(t, set, func(j *Config) { j.RequiredClaims = c.require })
		if err := verdictOf(v, k.sign(t, claimsNow(c.claims), nil)); (err == nil) != c.good {
			t.Errorf("%s: %v", name, err)
		}
	}
	typed := func(types ...string) *Verifier { return verifier(t, set, func(j *Config) { j.Types = types }) }
	for typ, good := range map[any]bool{"at+jwt": true, "application/AT+JWT": true, "JWT": false, nil: false} {
		if err := verdictOf(typed("at+jwt"), k.sign(t, claimsNow(nil), map[string]any{"typ": typ})); (err == nil) != good {
			t.Errorf("typ %v: %v", typ, err)
		}
	}
	only := verifier(t, set, func(j *Config) { j.Algorithms = []string{"ES256"} })
	if err := verdictOf(only, k.sign(t, claimsNow(nil), nil)); !errors.Is(err, verify.ErrInvalidToken) {
		t.Errorf("an algorithm that is not accepted: %v", err)
	}
}

// TestConfigRefusesEmptiness: golang-jwt does not check an empty issuer or audience, so
// NewIssuer refuses them.
func TestConfigRefusesEmptiness(t *testing.T) {
	t.Parallel()
	for want, c := range map[string]Config{
		"JWT.Issuer is missing":         {Audiences: []string{"a"}},
		"JWT.Audiences is missing":      {Issuer: "i"},
		"JWT.Audiences is missing: ":    {Issuer: "i", Audiences: []string{"a", ""}},
		"JWT.Algorithms must be one of": {Issuer: "i", Audiences: []string{"a"}, Algorithms: []string{"RS256", "none"}},
		"JWT.Types is empty":            {Issuer: "i", Audiences: []string{"a"}, Types: []string{""}},
		"it has no name":                {Issuer: "i", Audiences: []string{"a"}, RequiredClaims: map[string][]string{"": nil}},
		"a JSON Pointer in":             {Issuer: "i", Audiences: []string{"a"}, RequiredClaims: map[string][]string{"/a~2b": nil}},
		"Leeway must be":                {Issuer: "i", Audiences: []string{"a"}, Leeway: time.Hour},
		"JWT.Issuer is missing: give":   {},
	} {
		if _, err := NewIssuer(func() *KeySet { return nil }, c); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", want, err)
		}
	}
	if _, err := NewIssuer(nil, Config{Issuer: "i", Audiences: []string{"a"}}); err == nil {
		t.Error("no keys, and no error")
	}
}

func TestUnknownKeyIsTold(t *testing.T) {
	t.Parallel()
	k := signingKeys()["ES256"]
	told := 0
	v := verifier(t, keySet(t, nil, k.key(t, "k1")), func(c *Config) { c.OnUnknownKey = func() { told++ } })
	_ = verdictOf(v, k.sign(t, claimsNow(nil), map[string]any{"kid": "k1"}))
	if told != 0 {
		t.Errorf("told %d times of a key that is there", told)
	}
	for i, token := range []string{
		k.sign(t, claimsNow(nil), map[string]any{"kid": "k2"}),
		signingKeys()["HS256"].sign(t, claimsNow(nil), map[string]any{"kid": "k1"}), // the name is for another algorithm now
		signingKeys()["HS256"].sign(t, claimsNow(nil), nil),
	} {
		if _ = verdictOf(v, token); told != i+1 {
			t.Errorf("token %d: told %d times of keys that are not there", i, told)
		}
	}
	forged, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	told = 0
	if _ = verdictOf(v, signingKey{"ES256", forged, nil}.sign(t, claimsNow(nil), map[string]any{"kid": "k1"})); told != 1 {
		t.Error("not told of a bad signature under a known name, which may have a new key")
	}
	nameless := verifier(t, keySet(t, nil, k.key(t, "")), func(c *Config) { c.OnUnknownKey = func() { told = -1 } })
	other, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if _ = verdictOf(nameless, signingKey{"ES256", other, nil}.sign(t, claimsNow(nil), nil)); told != -1 {
		t.Error("not told of a signature by nobody, where keys have no names")
	}
}

// TestNamelessKeysAreTriedInOrder: if there are more keys than are tried, the current key
// is tried first, and a key that has ended is not tried.
func TestNamelessKeysAreTriedInOrder(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := rotation.Window{Overlap: time.Hour}
		var l *rotation.Ledger[Key]
		var set *KeySet
		v := verifierOf(t, func() *KeySet { return set }, -1, nil)
		var all []signingKey
		for i := range MaxTried + 4 {
			private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
			if err != nil {
				t.Fatal(err)
			}
			k := signingKey{"ES256", private, &private.PublicKey}
			all = append(all, k)
			key := k.key(t, "")
			l = rotation.Advance(l, rotation.Content[Key]{Decls: []rotation.Decl[Key]{{ID: key.ID(), Slot: rotation.Current, Value: key}}}, time.Now(), w)
			set = NewKeySet(l, "keys", nil, nil)
			time.Sleep(time.Second)
			for age, k := range []signingKey{all[i], all[max(0, i-MaxTried+1)]} {
				if err := verdictOf(v, k.sign(t, claimsNow(nil), nil)); err != nil {
					t.Fatalf("rotation %d: the current key and those before it, %d: %v", i, age, err)
				}
			}
		}
		if set.Untried() != 4 {
			t.Errorf("%d keys have no place, want 4", set.Untried())
		}
		if err := verdictOf(v, all[0].sign(t, claimsNow(nil), nil)); !errors.Is(err, verify.ErrInvalidToken) {
			t.Errorf("the oldest: %v", err)
		}
		time.Sleep(time.Hour) // every overlap is over, and nothing was read since
		if err := verdictOf(v, all[len(all)-1].sign(t, claimsNow(nil), nil)); err != nil {
			t.Errorf("the current one: %v", err)
		}
		if err := verdictOf(v, all[3].sign(t, claimsNow(nil), nil)); !errors.Is(err, verify.ErrInvalidToken) {
			t.Errorf("one of long ago: %v", err)
		}
	})
}

// TestClassOfDeadKeys: a token of a revoked or superseded key is refused as such, and its
// key is not looked for.
func TestClassOfDeadKeys(t *testing.T) {
	t.Parallel()
	k, other := signingKeys()["ES256"], signingKeys()["EdDSA"]
	key := k.key(t, "k1")
	token := k.sign(t, claimsNow(nil), map[string]any{"kid": "k1"})
	decls := []rotation.Decl[Key]{{ID: key.ID(), Slot: rotation.Current, Value: key}}
	next := other.key(t, "k2")
	replaced := []rotation.Decl[Key]{{ID: next.ID(), Slot: rotation.Current, Value: next}}
	first := rotation.Advance(nil, rotation.Content[Key]{Decls: decls}, time.Now(), rotation.Window{})
	for name, c := range map[string]struct {
		set  *KeySet
		want error
	}{
		"revoked from the start": {NewKeySet(rotation.Advance(nil, rotation.Content[Key]{Decls: decls, Revoked: []rotation.ID{key.ID()}}, time.Now(), rotation.Window{}), "keys", nil, decls), verify.ErrRevokedToken},
		"revoked later":          {NewKeySet(first.Revoke(key.ID()), "keys", NewKeySet(first, "keys", nil, nil), nil), verify.ErrRevokedToken},
		"superseded": {NewKeySet(rotation.Advance(first, rotation.Content[Key]{Decls: replaced}, time.Now(), rotation.Window{}), "keys",
			NewKeySet(first, "keys", nil, nil), replaced), verify.ErrExpiredToken},
	} {
		asked := false
		v := verifier(t, c.set, func(j *Config) { j.OnUnknownKey = func() { asked = true } })
		for _, one := range []string{token, k.sign(t, claimsNow(nil), nil)} {
			if err := verdictOf(v, one); !errors.Is(err, c.want) {
				t.Errorf("%s: %v, want %v", name, err, c.want)
			}
		}
		if asked {
			t.Errorf("%s: somebody was asked for it", name)
		}
	}
}

func TestJWTWithoutSubject(t *testing.T) {
	t.Parallel()
	k := signingKeys()["HS256"]
	v := verifier(t, keySet(t, nil, k.key(t, "")), nil)
	for _, sub := range []any{nil, ""} {
		p, err := v.Verify(t.Context(), k.sign(t, claimsNow(map[string]any{"sub": sub}), nil))
		if err != nil || p.Subject() != "keys" {
			t.Errorf("sub %v: subject %q, %v; want the source's name, which is never empty", sub, p.Subject(), err)
		}
	}
}

// TestJWTConfigIsCopied: changing the slices and maps of a Config afterwards has no effect.
func TestJWTConfigIsCopied(t *testing.T) {
	t.Parallel()
	k := signingKeys()["HS256"]
	set := keySet(t, nil, k.key(t, ""))
	c := Config{Issuer: issuer, Audiences: []string{"other"}, Algorithms: []string{"HS512"}, RequiredClaims: map[string][]string{"a": {"1"}}}
	iss, err := NewIssuer(fixed(set), c)
	if err != nil {
		t.Fatal(err)
	}
	v := NewVerifier(0, iss)
	c.Audiences[0], c.Algorithms[0], c.RequiredClaims["a"][0] = audience, "HS256", "2"
	delete(c.RequiredClaims, "a")
	if err := verdictOf(v, k.sign(t, claimsNow(nil), nil)); err == nil {
		t.Error("accepted by what was changed afterwards")
	}
}

// TestBadTokensCostLittle: the claims of a token with a bad header or signature are not
// decoded.
func TestBadTokensCostLittle(t *testing.T) {
	k := signingKeys()["HS256"]
	v := verifier(t, keySet(t, nil, k.key(t, "")), nil)
	bomb := `{"x":[` + strings.Repeat(`{"":0},`, 1500) + `0]}`
	good := k.sign(t, claimsNow(nil), nil)
	cost := func(token string) float64 {
		return testing.AllocsPerRun(20, func() { _ = verdictOf(v, token) })
	}
	forged := signingKey{"HS256", []byte("another secret of thirty-two bytes"), nil}
	for name, token := range map[string]string{
		"claims":    forged.signRaw(t, `{"alg":"HS256"}`, bomb),
		"no alg":    forged.signRaw(t, `{"alg":"none"}`, bomb),
		"header":    forged.signRaw(t, strings.Replace(bomb, "{", `{"alg":"none",`, 1), `{}`),
		"wrong sig": good[:len(good)-4] + "AAAA",
	} {
		if n := cost(token); n > 60 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

func TestJWTInvalidUTF8(t *testing.T) {
	t.Parallel()
	k := signingKeys()["HS256"]
	v := verifier(t, keySet(t, nil, k.key(t, "")), nil)
	token := k.signRaw(t, `{"alg":"HS256"}`, strings.Replace(text(t, claimsNow(nil)), "alice", "a\xff", 1))
	if err := verdictOf(v, token); !errors.Is(err, verify.ErrInvalidToken) {
		t.Errorf("%v", err)
	}
}
