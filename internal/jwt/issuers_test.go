package jwt

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"

	"github.com/golang-jwt/jwt/v5"

	"github.com/tokenagent/tokenagent/internal/rotation"
	"github.com/tokenagent/tokenagent/internal/strictjson"
	"github.com/tokenagent/tokenagent/pkg/verify"
)

const otherIssuer = "https://other.example"

// twoIssuers returns a Verifier of issuer with the keys own, and of otherIssuer with the
// keys other. change may alter the Config of each.
func twoIssuers(tb testing.TB, own, other *KeySet, change func(own, other *Config)) *Verifier {
	tb.Helper()
	c := [2]Config{{Issuer: issuer, Audiences: []string{audience}}, {Issuer: otherIssuer, Audiences: []string{audience}}}
	if change != nil {
		change(&c[0], &c[1])
	}
	var issuers []*Issuer
	for i, set := range []*KeySet{own, other} {
		iss, err := NewIssuer(fixed(set), c[i])
		if err != nil {
			tb.Fatal(err)
		}
		issuers = append(issuers, iss)
	}
	return NewVerifier(0, issuers...)
}

// secretKey returns a key for HS256 that counts its checks, and its signer.
func secretKey(tb testing.TB, kid, secret string) (signingKey, Key, *counting) {
	tb.Helper()
	k := signingKey{"HS256", []byte(secret), []byte(secret)}
	key := k.key(tb, kid)
	c := &counting{SigningMethod: jwt.SigningMethodHS256}
	(*key.k).method = c
	return k, key, c
}

const (
	secretA = "the secret of issuer A, 32 bytes or more"
	secretB = "the secret of issuer B, 32 bytes or more"
)

// TestIssuersAreNotConfused: two issuers have a key of the same kid. A token is accepted
// only if the key of the issuer that its iss names signed it, and only that key is tried.
func TestIssuersAreNotConfused(t *testing.T) {
	t.Parallel()
	a, keyA, triedA := secretKey(t, "k1", secretA)
	b, keyB, triedB := secretKey(t, "k1", secretB)
	v := twoIssuers(t, keySet(t, nil, keyA), keySet(t, nil, keyB), nil)
	missing := twoIssuers(t, keySet(t, nil, keyA), keySet(t, nil, keyB), func(own, _ *Config) { own.AllowMissingIssuer = true })
	const header = `{"alg":"HS256","kid":"k1"}`
	claims := func(iss string) string {
		rest := text(t, claimsNow(map[string]any{"iss": nil}))
		if iss == "" {
			return rest
		}
		return "{" + iss + "," + rest[1:]
	}
	for name, c := range map[string]struct {
		signer  signingKey
		iss     string // the members of the claims for the issuer
		want    string // the issuer whose keys are tried
		good    bool
		missing bool // whether missing accepts the token
	}{
		"A":                       {a, `"iss":"https://issuer.example"`, "A", true, true},
		"B":                       {b, `"iss":"https://other.example"`, "B", true, true},
		"A signed by B":           {b, `"iss":"https://issuer.example"`, "A", false, false},
		"B signed by A":           {a, `"iss":"https://other.example"`, "B", false, false},
		"escaped slashes":         {a, `"iss":"https:\/\/issuer.example"`, "A", true, true},
		"escaped letters":         {a, `"iss":"\u0068ttps://issuer.example"`, "A", true, true},
		"A escaped, signed by B":  {b, `"iss":"https:\/\/issuer.example"`, "A", false, false},
		"white space":             {a, ` "iss" : ` + "\n" + `"https://issuer.example" `, "A", true, true},
		"a trailing slash":        {a, `"iss":"https://issuer.example/"`, "", false, false},
		"upper case":              {a, `"iss":"HTTPS://issuer.example"`, "", false, false},
		"a space at the end":      {a, `"iss":"https://issuer.example "`, "", false, false},
		"a NUL at the end":        {a, `"iss":"https://issuer.example\u0000"`, "", false, false},
		"an array":                {a, `"iss":["https://issuer.example"]`, "", false, false},
		"an array of both":        {a, `"iss":["https://issuer.example","https://other.example"]`, "", false, false},
		"an object":               {a, `"iss":{"iss":"https://issuer.example"}`, "", false, false},
		"a number":                {a, `"iss":1`, "", false, false},
		"null":                    {a, `"iss":null`, "", false, false},
		"empty":                   {a, `"iss":""`, "", false, false},
		"no issuer":               {a, ``, "", false, true},
		"no issuer, signed by B":  {b, ``, "", false, false},
		"the name in upper case":  {a, `"ISS":"https://issuer.example"`, "", false, true}, // another claim
		"the name in a value":     {a, `"x":"iss","y":{"iss":"https://other.example"}`, "", false, true},
		"the name in an array":    {a, `"x":["iss","https://other.example"]`, "", false, true},
		"an escaped name":         {a, `"\u0069ss":"https://issuer.example"`, "", false, true}, // what is decoded decides
		"an escaped name, of B":   {a, `"\u0069ss":"https://other.example"`, "", false, false},
		"twice":                   {a, `"iss":"https://issuer.example","iss":"https://other.example"`, "A", false, false},
		"twice, the other first":  {a, `"iss":"https://other.example","iss":"https://issuer.example"`, "B", false, false},
		"twice, once escaped":     {a, `"\u0069ss":"https://other.example","iss":"https://issuer.example"`, "A", false, false},
		"twice, once escaped, B":  {b, `"\u0069ss":"https://other.example","iss":"https://issuer.example"`, "A", false, false},
		"nested before the claim": {b, `"x":{"iss":"https://issuer.example"},"iss":"https://other.example"`, "B", true, true},
	} {
		token := c.signer.signRaw(t, header, claims(c.iss))
		for range 2 { // the second time perhaps from the cache
			beforeA, beforeB := triedA.checks.Load(), triedB.checks.Load()
			err := verdictOf(v, token)
			if (err == nil) != c.good || err != nil && !errors.Is(err, verify.ErrInvalidToken) {
				t.Errorf("%s: %v, want accepted %t", name, err, c.good)
			}
			if nA, nB := triedA.checks.Load()-beforeA, triedB.checks.Load()-beforeB; nA > 0 && c.want != "A" || nB > 0 && c.want != "B" {
				t.Errorf("%s: %d keys of A and %d of B were tried, want those of %q", name, nA, nB, c.want)
			}
		}
		if err := verdictOf(missing, token); (err == nil) != c.missing {
			t.Errorf("%s, with A for tokens without iss: %v, want accepted %t", name, err, c.missing)
		}
	}
}

// TestOneIssuerForTokensWithoutOne: an issuer without a name accepts only tokens without
// iss, alone or beside another issuer.
func TestOneIssuerForTokensWithoutOne(t *testing.T) {
	t.Parallel()
	a, keyA, _ := secretKey(t, "", secretA)
	nameless := func(c *Config) { c.Issuer, c.AllowMissingIssuer = "", true }
	for name, v := range map[string]*Verifier{
		"alone":  verifier(t, keySet(t, nil, keyA), nameless),
		"beside": twoIssuers(t, keySet(t, nil, keyA), nil, func(own, _ *Config) { nameless(own) }),
	} {
		for iss, want := range map[any]bool{nil: true, "": false, issuer: false, 1: false} {
			token := a.sign(t, claimsNow(map[string]any{"iss": iss}), nil)
			if iss == "" {
				token = a.signRaw(t, `{"alg":"HS256"}`, strings.Replace(text(t, claimsNow(nil)), issuer, "", 1))
			}
			if err := verdictOf(v, token); (err == nil) != want {
				t.Errorf("%s, iss %v: %v", name, iss, err)
			}
		}
	}
}

// TestIssuersLoadAndRevokeAlone: the keys of an issuer that are missing or revoked refuse
// only its own tokens.
func TestIssuersLoadAndRevokeAlone(t *testing.T) {
	t.Parallel()
	a, keyA, _ := secretKey(t, "k1", secretA)
	b, keyB, _ := secretKey(t, "k1", secretB)
	kid := map[string]any{"kid": "k1"}
	ofA, ofB := a.sign(t, claimsNow(nil), kid), b.sign(t, claimsNow(map[string]any{"iss": otherIssuer}), kid)
	unknown := a.sign(t, claimsNow(map[string]any{"iss": "https://nobody.example"}), kid)
	both := keySet(t, nil, keyB)
	for name, c := range map[string]struct {
		own, other           *KeySet
		wantA, wantB, wantNo error
	}{
		"both":            {keySet(t, nil, keyA), both, nil, nil, verify.ErrInvalidToken},
		"A not loaded":    {nil, both, verify.ErrUnavailable, nil, verify.ErrInvalidToken},
		"none loaded":     {nil, nil, verify.ErrUnavailable, verify.ErrUnavailable, verify.ErrUnavailable},
		"the kid of A":    {keySet(t, []rotation.ID{verify.RevokedKeyID("k1")}, keyA), both, verify.ErrRevokedToken, nil, verify.ErrInvalidToken},
		"the key of A":    {keySet(t, []rotation.ID{keyA.ID()}, keyA), both, verify.ErrInvalidToken, nil, verify.ErrInvalidToken},
		"the jti of A":    {keySet(t, []rotation.ID{verify.RevokedTokenID("t-1")}, keyA), both, verify.ErrRevokedToken, nil, verify.ErrInvalidToken},
		"a token of B":    {keySet(t, []rotation.ID{verify.SigningInputDigest(ofB)}, keyA), both, nil, nil, verify.ErrInvalidToken},
		"the key of B":    {keySet(t, []rotation.ID{keyB.ID()}, keyA), both, nil, nil, verify.ErrInvalidToken},
		"B has no key k1": {keySet(t, nil, keyA), keySet(t, nil), nil, verify.ErrInvalidToken, verify.ErrInvalidToken},
	} {
		v := twoIssuers(t, c.own, c.other, nil)
		for range 2 {
			for token, want := range map[string]error{ofA: c.wantA, ofB: c.wantB, unknown: c.wantNo} {
				if err := verdictOf(v, token); !errors.Is(err, want) {
					t.Errorf("%s: %v, want %v", name, err, want)
				}
			}
		}
	}
}

// TestIssuersHaveTheirOwnRules: audiences, algorithms, types and claims are those of the
// issuer, and only the issuer of a token is told of an unknown key.
func TestIssuersHaveTheirOwnRules(t *testing.T) {
	t.Parallel()
	a, keyA, _ := secretKey(t, "k1", secretA)
	b, keyB, _ := secretKey(t, "k1", secretB)
	told := [2]int{}
	v := twoIssuers(t, keySet(t, nil, keyA), keySet(t, nil, keyB), func(own, other *Config) {
		own.OnUnknownKey, other.OnUnknownKey = func() { told[0]++ }, func() { told[1]++ }
		other.Audiences, other.Types, other.RequiredClaims = []string{"b"}, []string{"at+jwt"}, map[string][]string{"role": {"admin"}}
	})
	ofB := map[string]any{"iss": otherIssuer, "aud": "b", "role": "admin"}
	header := map[string]any{"kid": "k1", "typ": "at+jwt"}
	if err := verdictOf(v, a.sign(t, claimsNow(nil), map[string]any{"kid": "k1"})); err != nil {
		t.Errorf("A: %v", err)
	}
	p, at, err := v.VerifyIssuer(context.Background(), b.sign(t, claimsNow(ofB), header))
	if role, _ := p.Claim("role"); err != nil || at != 1 || role != "admin" {
		t.Errorf("B: %v, issuer %d", err, at)
	}
	for name, change := range map[string]map[string]any{"audience": {"aud": audience}, "claim": {"role": "user"}} {
		claims := claimsNow(ofB)
		maps.Copy(claims, change)
		if err := verdictOf(v, b.sign(t, claims, header)); !errors.Is(err, verify.ErrInvalidToken) {
			t.Errorf("another %s: %v", name, err)
		}
	}
	if err := verdictOf(v, b.sign(t, claimsNow(ofB), map[string]any{"kid": "k1"})); !errors.Is(err, errType) {
		t.Errorf("another type: %v", err)
	}
	if told != [2]int{} {
		t.Errorf("told of unknown keys: %v", told)
	}
	_ = verdictOf(v, b.sign(t, claimsNow(ofB), map[string]any{"kid": "k2", "typ": "at+jwt"}))
	if told != [2]int{0, 1} {
		t.Errorf("told of unknown keys: %v, want only the issuer of the token", told)
	}
}

// TestIssuersShareTheCache: a new token of one issuer does not replace good tokens of
// another while there is room.
func TestIssuersShareTheCache(t *testing.T) {
	t.Parallel()
	a, keyA, triedA := secretKey(t, "k1", secretA)
	b, keyB, _ := secretKey(t, "k1", secretB)
	v := twoIssuers(t, keySet(t, nil, keyA), keySet(t, nil, keyB), nil)
	v.cache = newJWTCache(cacheWays) // one set
	ofA := a.sign(t, claimsNow(nil), nil)
	for i := range cacheWays - 1 {
		if verdictOf(v, ofA) != nil || verdictOf(v, b.sign(t, claimsNow(map[string]any{"iss": otherIssuer, "jti": strconv.Itoa(i)}), nil)) != nil {
			t.Fatal("a good token is refused")
		}
	}
	if n := triedA.checks.Load(); n != 1 {
		t.Errorf("the token of A was checked %d times", n)
	}
}

// TestAcceptedMeansGolangJWTAccepts: whatever a Verifier of several issuers accepts,
// golang-jwt accepts with the key and the rules of the issuer that the token names.
func TestAcceptedMeansGolangJWTAccepts(t *testing.T) {
	t.Parallel()
	const n = 4
	var signers []signingKey
	var issuers []*Issuer
	names := make([]string, n)
	for i := range n {
		names[i] = fmt.Sprintf("https://issuer.example/%d", i)
		k, key, _ := secretKey(t, "k", fmt.Sprintf("the secret of issuer %d, 32 bytes or more", i))
		c := Config{Issuer: names[i], Audiences: []string{audience}, AllowMissingIssuer: i == 0}
		iss, err := NewIssuer(fixed(keySet(t, nil, key)), c)
		if err != nil {
			t.Fatal(err)
		}
		signers, issuers = append(signers, k), append(issuers, iss)
	}
	v := NewVerifier(0, issuers...)
	r := rand.New(rand.NewPCG(1, 2))
	accepted, refused := 0, 0
	for range 3000 {
		i := r.IntN(n)
		iss := []any{names[i], names[i], names[r.IntN(n)], names[i] + "/", []string{names[i]}, nil, "", 1}[r.IntN(8)]
		claims := claimsNow(map[string]any{"iss": iss, "jti": strconv.Itoa(r.IntN(50)), "aud": []string{audience, "x"}[r.IntN(2)]})
		token := signers[r.IntN(n)].sign(t, claims, map[string]any{"kid": []any{"k", nil}[r.IntN(2)]})
		_, at, err := v.VerifyIssuer(context.Background(), token)
		if err != nil {
			refused++
			continue
		}
		accepted++
		options := []jwt.ParserOption{jwt.WithAudience(audience), jwt.WithExpirationRequired(), jwt.WithValidMethods([]string{"HS256"})}
		if at != 0 || iss != nil {
			options = append(options, jwt.WithIssuer(names[at]))
		}
		if _, err := jwt.Parse(token, func(*jwt.Token) (any, error) { return signers[at].public, nil }, options...); err != nil {
			t.Errorf("accepted for issuer %d, but golang-jwt: %v\n%s", at, err, token)
		}
	}
	if accepted < 100 || refused < 100 {
		t.Errorf("%d accepted and %d refused; the test tests too little", accepted, refused)
	}
}

// TestBadTokensCostLittleWithIssuers: to choose an issuer, the other claims are not
// decoded.
func TestBadTokensCostLittleWithIssuers(t *testing.T) {
	_, keyA, _ := secretKey(t, "", secretA)
	v := twoIssuers(t, keySet(t, nil, keyA), keySet(t, nil), nil)
	forger := signingKey{"HS256", []byte("another secret of thirty-two bytes"), nil}
	for name, members := range map[string]string{
		"before": `"x":[` + strings.Repeat(`{"":0},`, 1500) + `0],"iss":"https://issuer.example"`,
		"after":  `"iss":"https://issuer.example","x":[` + strings.Repeat(`{"":0},`, 1500) + `0]`,
		"names":  strings.Repeat(`"\u0069s":0,`, 900) + `"iss":"https://issuer.example"`,
	} {
		token := forger.signRaw(t, `{"alg":"HS256"}`, "{"+members+"}")
		if err := verdictOf(v, token); !errors.Is(err, ErrSignature) {
			t.Fatalf("%s: %v", name, err)
		}
		if n := testing.AllocsPerRun(20, func() { _ = verdictOf(v, token) }); n > 60 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

// FuzzIssuerOf checks that the iss that chooses an issuer is the one that encoding/json
// decodes, unless its name has escapes or it occurs twice.
func FuzzIssuerOf(f *testing.F) {
	for _, seed := range []string{
		`{"iss":"a"}`, `{"x":{"iss":"b"},"iss":"a"}`, `{"iss":["a"]}`, `{ "iss" : "a\/b" }`, `{"iss":null}`, `{}`, `{"ISS":"a"}`,
		`{"x":"iss\"","iss":"a"}`, `["iss"]`, `"iss"`, `{"iss":"\ud800"}`, `{"iss\\":1}`, `{"":"","iss":"a"}`,
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if !json.Valid([]byte(text)) {
			return
		}
		var members map[string]any
		err := strictjson.Object(text, func(string, string) {})
		if err != nil || strings.Contains(text, `\u`) {
			return
		}
		if err := json.Unmarshal([]byte(text), &members); err != nil {
			t.Fatal(err)
		}
		value, err := strictjson.First(text, "iss")
		if err != nil {
			t.Fatal(err)
		}
		iss, isString := strictjson.String(value)
		has := value != ""
		want, wantHas := members["iss"]
		wantText, wantString := want.(string)
		if has != wantHas || isString != wantString || iss != wantText {
			t.Errorf("%q: %q, %t, %t; want %q, %t, %t", text, iss, has, isString, wantText, wantHas, wantString)
		}
	})
}

// BenchmarkCachedByIssuers verifies a cached token with one issuer and with eight.
func BenchmarkCachedByIssuers(b *testing.B) {
	for _, n := range []int{1, 8} {
		b.Run(strconv.Itoa(n), func(b *testing.B) {
			var issuers []*Issuer
			var last signingKey
			for i := range n {
				k, key, _ := secretKey(b, "k", fmt.Sprintf("the secret of issuer %d, 32 bytes or more", i))
				iss, err := NewIssuer(fixed(keySet(b, nil, key)), Config{Issuer: fmt.Sprintf("%s/%d", issuer, i), Audiences: []string{audience}})
				if err != nil {
					b.Fatal(err)
				}
				issuers, last = append(issuers, iss), k
			}
			v := NewVerifier(0, issuers...)
			token := last.sign(b, claimsNow(map[string]any{"iss": fmt.Sprintf("%s/%d", issuer, n-1)}), map[string]any{"kid": "k"})
			b.ReportAllocs()
			for b.Loop() {
				if err := verdictOf(v, token); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
