package jwt

import (
	"crypto/rsa"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

func TestRequiredClaims(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		claims   string // members beside the usual ones
		required string
		values   []string
		want     bool
	}{
		"scope":                        {`"scope":"read admin"`, "scope", []string{"admin"}, true},
		"scope is not split elsewhere": {`"scope":"read\tadmin"`, "scope", []string{"admin"}, false},
		"scope at a no-break space":    {`"scope":"read\u00a0admin"`, "scope", []string{"admin"}, false},
		"scope at a next line":         {`"scope":"read\u0085admin"`, "scope", []string{"admin"}, false},
		"scope at a line feed":         {`"scope":"read\nadmin"`, "scope", []string{"admin"}, false},
		"scope with two spaces":        {`"scope":"read  admin"`, "scope", []string{"admin"}, true},
		"scope has no empty word":      {`"scope":"read  admin"`, "scope", []string{""}, false},
		"scope list":                   {`"scope":["read","admin"]`, "scope", []string{"admin"}, true},
		"scope list is not split":      {`"scope":["read admin"]`, "scope", []string{"admin"}, false},
		"scp":                          {`"scp":"orders.read orders.write"`, "scp", []string{"orders.write"}, true},
		"scp list":                     {`"scp":["orders.read"]`, "scp", []string{"orders.read"}, true},
		"scp by a part of a word":      {`"scp":"orders.read"`, "scp", []string{"orders"}, false},
		"other text is one word":       {`"role":"read admin"`, "role", []string{"admin"}, false},
		"pointer":                      {`"realm_access":{"roles":["user","admin"]}`, "/realm_access/roles", []string{"admin"}, true},
		"pointer, another value":       {`"realm_access":{"roles":["user"]}`, "/realm_access/roles", []string{"admin"}, false},
		"pointer to nothing":           {`"realm_access":{}`, "/realm_access/roles", nil, false},
		"pointer through text":         {`"realm_access":"roles"`, "/realm_access/roles", nil, false},
		"pointer to an element":        {`"a":[{"b":"x"},{"b":"y"}]`, "/a/1/b", []string{"y"}, true},
		"pointer to an element, 01":    {`"a":[1,2]`, "/a/01", nil, false},
		"pointer past the end":         {`"a":[1,2]`, "/a/2", nil, false},
		"pointer to -":                 {`"a":[1,2]`, "/a/-", nil, false},
		"pointer to -1":                {`"a":[1,2]`, "/a/-1", nil, false},
		"pointer with escapes":         {`"a/b":{"c~d":true}`, "/a~1b/c~0d", []string{"true"}, true},
		"pointer, ~01 is ~1":           {`"~1":7`, "/~01", []string{"7"}, true},
		"pointer to the empty name":    {`"":"x"`, "/", []string{"x"}, true},
		"pointer to a name with a dot": {`"a.b":"x"`, "/a.b", []string{"x"}, true},
		"a dot is no pointer":          {`"a":{"b":"x"}`, "a.b", nil, false},
		"pointer to words":             {`"x":{"scope":"a b"}`, "/x/scope", []string{"b"}, true},
		"a name that holds a slash":    {`"https://x/roles":["a"]`, "https://x/roles", []string{"a"}, true},
		"pointer whose value is null":  {`"a":{"b":null}`, "/a/b", nil, true},
		"pointer whose value is false": {`"a":{"b":false}`, "/a/b", []string{"true"}, false},
		"pointer to a whole number":    {`"a":{"b":12}`, "/a/b", []string{"12"}, true},
		"a number beyond a float64":    {`"n":9007199254740993`, "n", []string{"9007199254740993"}, true},
		"its neighbour is another":     {`"n":9007199254740993`, "n", []string{"9007199254740992"}, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			k := signingKeys()["HS256"]
			v := verifier(t, keySet(t, nil, k.key(t, "")), func(cfg *Config) {
				cfg.RequiredClaims = map[string][]string{c.required: c.values}
			})
			err := verdictOf(v, k.signRaw(t, `{"alg":"HS256"}`, strings.Replace(text(t, claimsNow(nil)), "{", "{"+c.claims+",", 1)))
			if (err == nil) != c.want {
				t.Errorf("%s asked for %v: %v", c.claims, c.values, err)
			}
		})
	}
}

// TestSubjectIsTheLiteralNumber: a float64 would round the second.
func TestSubjectIsTheLiteralNumber(t *testing.T) {
	t.Parallel()
	k := signingKeys()["HS256"]
	v := verifier(t, keySet(t, nil, k.key(t, "")), nil)
	for _, sub := range []string{"17", "12345678901234567890", "9007199254740993", "0", "-4"} {
		token := k.signRaw(t, `{"alg":"HS256"}`, strings.Replace(text(t, claimsNow(map[string]any{"sub": nil})), "{", `{"sub":`+sub+`,"SUB":1,`, 1))
		for range 2 { // and from the cache
			if p, err := v.Verify(t.Context(), token); err != nil || p.Subject() != sub {
				t.Errorf("sub %s: %v, %v", sub, p, err)
			}
		}
	}
}

func TestFutureIssueTimeRefusesNothing(t *testing.T) {
	t.Parallel()
	k := signingKeys()["HS256"]
	v := verifier(t, keySet(t, nil, k.key(t, "")), func(c *Config) { c.Leeway = -1 })
	if err := verdictOf(v, k.sign(t, claimsNow(map[string]any{"iat": time.Now().Add(time.Minute).Unix()}), nil)); err != nil {
		t.Error(err)
	}
}

// TestPSSSaltIsAsLongAsTheHash (RFC 7518 section 3.5): golang-jwt takes any.
func TestPSSSaltIsAsLongAsTheHash(t *testing.T) {
	t.Parallel()
	for alg, method := range map[string]*jwt.SigningMethodRSAPSS{"PS256": jwt.SigningMethodPS256, "PS384": jwt.SigningMethodPS384, "PS512": jwt.SigningMethodPS512} {
		k := signingKeys()[alg]
		v := verifier(t, keySet(t, nil, k.key(t, "")), nil)
		size := method.Hash.Size()
		for salt, want := range map[int]bool{size: true, size - 1: false, size + 1: false, 20: false, rsa.PSSSaltLengthAuto: false} {
			signer := &jwt.SigningMethodRSAPSS{SigningMethodRSA: method.SigningMethodRSA, Options: &rsa.PSSOptions{SaltLength: salt}}
			token := jwt.NewWithClaims(signer, claimsNow(nil))
			text, err := token.SignedString(k.private)
			if err != nil {
				t.Fatal(err)
			}
			if err := verdictOf(v, text); (err == nil) != want {
				t.Errorf("%s with a salt of %d bytes: %v", alg, salt, err)
			}
		}
	}
}

// TestEd25519HasTwoNames: RFC 9864 gave EdDSA with Ed25519 a name of its own.
func TestEd25519HasTwoNames(t *testing.T) {
	t.Parallel()
	signer := signingKeys()["EdDSA"]
	for _, ofKey := range []string{"", "EdDSA", "Ed25519"} {
		key, err := NewKey(KeyConfig{Algorithm: ofKey, Material: signer.public})
		if err != nil {
			t.Fatal(err)
		}
		for _, ofToken := range []string{"EdDSA", "Ed25519"} {
			for _, accepted := range [][]string{nil, {"EdDSA"}, {"Ed25519"}} {
				v := verifier(t, keySet(t, nil, key), func(c *Config) { c.Algorithms = accepted })
				if err := verdictOf(v, signer.sign(t, claimsNow(nil), map[string]any{"alg": ofToken})); err != nil {
					t.Errorf("key %q, token %q, accepted %q: %v", ofKey, ofToken, accepted, err)
				}
			}
		}
		v := verifier(t, keySet(t, nil, key), func(c *Config) { c.Algorithms = []string{"ES256"} })
		if err := verdictOf(v, signer.sign(t, claimsNow(nil), map[string]any{"alg": "Ed25519"})); err == nil {
			t.Error("an algorithm that is not accepted was")
		}
	}
}
