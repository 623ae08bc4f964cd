package jwt

import (
	"context"
	"errors"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/tokenagent/tokenagent/internal/rotation"
	"github.com/tokenagent/tokenagent/pkg/verify"
)

// A counting method is HS256 that counts its verifications and can block them.
type counting struct {
	jwt.SigningMethod
	checks atomic.Int64
	begun  chan struct{} // receives a value for each check, if not nil
	held   chan struct{} // blocks each check until it is closed, if not nil
}

func (c *counting) Verify(input string, sig []byte, key any) error {
	c.checks.Add(1)
	if c.begun != nil {
		c.begun <- struct{}{}
	}
	if c.held != nil {
		<-c.held
	}
	return c.SigningMethod.Verify(input, sig, key)
}

// counted returns a key whose verifications are counted.
func counted(tb testing.TB, kid string) (Key, *counting) {
	tb.Helper()
	k := signingKeys()["HS256"].key(tb, kid)
	c := &counting{SigningMethod: jwt.SigningMethodHS256}
	(*k.k).method = c
	return k, c
}

func TestCachedTokensAreNotCheckedAgain(t *testing.T) {
	t.Parallel()
	key, checks := counted(t, "k1")
	k := signingKeys()["HS256"]
	set := keySet(t, nil, key)
	v := verifierOf(t, func() *KeySet { return set }, 0, nil)
	token := k.sign(t, claimsNow(nil), map[string]any{"kid": "k1"})
	want := func(what string, n int64) {
		t.Helper()
		if err := verdictOf(v, token); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		if got := checks.checks.Load(); got != n {
			t.Errorf("%s: %d signatures checked so far, want %d", what, got, n)
		}
	}
	want("first", 1)
	want("again", 1)
	other := signingKeys()["EdDSA"].key(t, "k2")
	set = keySet(t, nil, key, other)
	want("another key came", 1)
	set = keySet(t, []rotation.ID{verify.RevokedTokenID("t-2")}, key)
	want("another token was revoked", 1)
	set = keySet(t, nil, other)
	if err := verdictOf(v, token); !errors.Is(err, verify.ErrInvalidToken) {
		t.Errorf("its key is gone: %v", err)
	}
	set = keySet(t, nil, key)
	want("its key is back", 1)
	set = keySet(t, []rotation.ID{verify.RevokedTokenID("t-1")}, key)
	if err := verdictOf(v, token); !errors.Is(err, verify.ErrRevokedToken) {
		t.Errorf("revoked: %v", err)
	}
	set = nil
	if err := verdictOf(v, token); !errors.Is(err, verify.ErrUnavailable) {
		t.Errorf("nothing loaded: %v", err)
	}
}

// TestCacheOff: a negative cache size turns the cache off.
func TestCacheOff(t *testing.T) {
	t.Parallel()
	key, checks := counted(t, "")
	v := verifierOf(t, fixed(keySet(t, nil, key)), -1, nil)
	token := signingKeys()["HS256"].sign(t, claimsNow(nil), nil)
	for range 3 {
		if err := verdictOf(v, token); err != nil {
			t.Fatal(err)
		}
	}
	if got := checks.checks.Load(); got != 3 {
		t.Errorf("%d signatures checked, want 3", got)
	}
}

// TestBadTokensPushNothingOut sends many bad tokens to a verifier with a small cache.
func TestBadTokensPushNothingOut(t *testing.T) {
	t.Parallel()
	key, checks := counted(t, "")
	v := verifierOf(t, fixed(keySet(t, nil, key)), 4, nil)
	k := signingKeys()["HS256"]
	good := k.sign(t, claimsNow(nil), nil)
	if err := verdictOf(v, good); err != nil {
		t.Fatal(err)
	}
	forger := signingKey{"HS256", []byte("another secret of thirty-two bytes"), nil}
	for i := range 2000 {
		bad := forger.sign(t, claimsNow(map[string]any{"jti": strconv.Itoa(i)}), nil)
		if err := verdictOf(v, bad); !errors.Is(err, verify.ErrInvalidToken) {
			t.Fatal(err)
		}
	}
	before := checks.checks.Load()
	if err := verdictOf(v, good); err != nil || checks.checks.Load() != before {
		t.Errorf("the good one is not known any more: %v", err)
	}
}

func TestCacheIsBounded(t *testing.T) {
	t.Parallel()
	k := signingKeys()["HS256"]
	v := verifierOf(t, fixed(keySet(t, nil, k.key(t, ""))), 64, nil)
	for i := range 500 {
		if err := verdictOf(v, k.sign(t, claimsNow(map[string]any{"jti": strconv.Itoa(i)}), nil)); err != nil {
			t.Fatal(err)
		}
	}
	held := 0
	for i := range v.cache.sets {
		for w := range v.cache.sets[i] {
			if v.cache.sets[i][w].Load() != nil {
				held++
			}
		}
	}
	if held < 32 || held > 128 {
		t.Errorf("%d tokens in a cache for 64", held)
	}
	long := k.sign(t, claimsNow(map[string]any{"x": make([]byte, maxCachedBytes)}), nil)
	if err := verdictOf(v, long); err != nil {
		t.Fatal(err)
	}
	if v.cache.find(v.cache.hash(long), long) != nil {
		t.Error("a token that is longer than the bound is cached")
	}
}

func TestP6_CachedTokenAllocatesNothing(t *testing.T) {
	k := signingKeys()["ES256"]
	v := verifier(t, keySet(t, nil, k.key(t, "")), nil)
	token := k.sign(t, claimsNow(nil), nil)
	if n := testing.AllocsPerRun(100, func() { _, _ = v.Verify(context.Background(), token) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// TestCacheUnderReloads verifies from many goroutines while keys come and go.
func TestCacheUnderReloads(t *testing.T) {
	t.Parallel()
	k := signingKeys()["HS256"]
	key := k.key(t, "k1")
	var set atomic.Pointer[KeySet]
	set.Store(keySet(t, nil, key))
	v := verifierOf(t, set.Load, 8, nil)
	var tokens []string
	for i := range 16 {
		tokens = append(tokens, k.sign(t, claimsNow(map[string]any{"jti": strconv.Itoa(i)}), map[string]any{"kid": "k1"}))
	}
	revoked := k.sign(t, claimsNow(map[string]any{"jti": "revoked"}), map[string]any{"kid": "k1"})
	if err := verdictOf(v, revoked); err != nil {
		t.Fatal(err)
	}
	set.Store(keySet(t, []rotation.ID{verify.RevokedTokenID("revoked")}, key))
	var stop atomic.Bool
	var all sync.WaitGroup
	for g := range 2 {
		all.Go(func() {
			for i := g; !stop.Load(); i++ {
				if err := verdictOf(v, tokens[i%len(tokens)]); err != nil && !errors.Is(err, verify.ErrBusy) {
					t.Error(err)
					return
				}
				if err := verdictOf(v, revoked); !errors.Is(err, verify.ErrRevokedToken) && !errors.Is(err, verify.ErrBusy) {
					t.Errorf("revoked: %v", err)
					return
				}
				runtime.Gosched()
			}
		})
	}
	for range 300 {
		set.Store(keySet(t, []rotation.ID{verify.RevokedTokenID("revoked")}, key))
		runtime.Gosched()
	}
	stop.Store(true)
	all.Wait()
}

// FuzzJWT: golang-jwt accepts every accepted token with the same key and requirements.
func FuzzJWT(f *testing.F) {
	k := signingKeys()["HS256"]
	set := keySet(f, nil, k.key(f, "k1"))
	v := verifier(f, set, nil)
	f.Add(k.sign(f, claimsNow(nil), map[string]any{"kid": "k1"}))
	f.Add(k.sign(f, claimsNow(nil), nil))
	f.Add(k.signRaw(f, `{"alg":"HS256","kid":"k1"}`, `{"exp":1e99,"aud":["orders"],"iss":"`+issuer+`"}`))
	f.Add("a.b.c")
	f.Fuzz(func(t *testing.T, token string) {
		p, err := v.Verify(context.Background(), token)
		if err != nil {
			if p != nil {
				t.Fatal("a Principal beside an error")
			}
			_ = verify.Class(err)
			return
		}
		mustBeGood(t, token, k)
	})
}

// FuzzJWTClaims signs any header and claims with a good key, so only the checks of the
// header and the claims can refuse the token.
func FuzzJWTClaims(f *testing.F) {
	k := signingKeys()["HS256"]
	v := verifierOf(f, fixed(keySet(f, nil, k.key(f, "k1"))), -1, nil)
	f.Add(`{"alg":"HS256","kid":"k1"}`, text(f, claimsNow(nil)))
	f.Add(`{"alg":"HS256"}`, `{"exp":9999999999,"iss":"`+issuer+`","aud":"orders","nbf":0.5}`)
	f.Add(`{"alg":"HS256"}`, text(f, claimsNow(map[string]any{"iat": time.Now().Add(5 * time.Second).Unix()})))
	f.Add(`{"alg":"HS256"}`, text(f, claimsNow(map[string]any{"nbf": time.Now().Add(5 * time.Second).Unix()})))
	f.Add(`{"alg":"HS256"}`, text(f, claimsNow(map[string]any{"exp": time.Now().Add(-5 * time.Second).Unix()})))
	f.Add(`{"alg":"HS256","crit":["x"]}`, `{"exp":1,"exp":2}`)
	f.Fuzz(func(t *testing.T, header, claims string) {
		token := k.signRaw(t, header, claims)
		if _, err := v.Verify(context.Background(), token); err != nil {
			return
		}
		mustBeGood(t, token, k)
	})
}

// mustBeGood asks golang-jwt about a token that was accepted. Its leeway is a
// minute longer than ours, since time passes between the two checks. It does not
// look at iat, which refuses no token (RFC 7519 section 4.1.6).
func mustBeGood(t *testing.T, token string, k signingKey) {
	t.Helper()
	parsed, err := jwt.Parse(token, func(*jwt.Token) (any, error) { return k.public, nil },
		jwt.WithValidMethods([]string{"HS256"}), jwt.WithStrictDecoding(), jwt.WithExpirationRequired(),
		jwt.WithLeeway(DefaultLeeway+time.Minute), jwt.WithIssuer(issuer), jwt.WithAudience(audience))
	if err != nil || !parsed.Valid {
		t.Fatalf("accepted, and golang-jwt says %v", err)
	}
}

func BenchmarkJWT(b *testing.B) {
	for _, alg := range []string{"HS256", "RS256", "ES256", "EdDSA"} {
		k := signingKeys()[alg]
		set := keySet(b, nil, k.key(b, "k1"))
		token := k.sign(b, claimsNow(nil), map[string]any{"kid": "k1"})
		for name, size := range map[string]int{"hit": 0, "checked": -1} {
			v := verifierOf(b, fixed(set), size, nil)
			b.Run(alg+"/"+name, func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					if _, err := v.Verify(context.Background(), token); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
		b.Run(alg+"/golang-jwt", func(b *testing.B) {
			b.ReportAllocs()
			p := jwt.NewParser(jwt.WithValidMethods([]string{alg}), jwt.WithIssuer(issuer), jwt.WithAudience(audience), jwt.WithExpirationRequired())
			for b.Loop() {
				if _, err := p.Parse(token, func(*jwt.Token) (any, error) { return k.public, nil }); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkJWTHitsOfMany finds one of many cached tokens.
func BenchmarkJWTHitsOfMany(b *testing.B) {
	k := signingKeys()["HS256"]
	v := verifierOf(b, fixed(keySet(b, nil, k.key(b, ""))), 40000, nil)
	tokens := make([]string, 10000)
	for i := range tokens {
		tokens[i] = k.sign(b, claimsNow(map[string]any{"jti": strconv.Itoa(i), "exp": time.Now().Add(24 * time.Hour).Unix()}), nil)
		if err := verdictOf(v, tokens[i]); err != nil {
			b.Fatal(err)
		}
	}
	i := 0
	for b.Loop() {
		i = (i + 7919) % len(tokens)
		_, _ = v.Verify(context.Background(), tokens[i])
	}
}

// TestP3_CachedTokenOfAnotherKeyDies: a key with another algorithm or another kid is
// another key, although its thumbprint is the same.
func TestP3_CachedTokenOfAnotherKeyDies(t *testing.T) {
	t.Parallel()
	rs, ps := signingKeys()["RS256"], signingKeys()["PS256"]
	for name, other := range map[string]Key{"algorithm": ps.key(t, "k1"), "name": rs.key(t, "k2")} {
		set := keySet(t, nil, rs.key(t, "k1"))
		v := verifierOf(t, func() *KeySet { return set }, 0, nil)
		token := rs.sign(t, claimsNow(nil), map[string]any{"kid": "k1"})
		if err := verdictOf(v, token); err != nil {
			t.Fatal(err)
		}
		set = keySet(t, nil, other)
		if err := verdictOf(v, token); !errors.Is(err, verify.ErrInvalidToken) {
			t.Errorf("another %s: %v", name, err)
		}
	}
}

// TestCacheComparesWholeTokens: an equal hash is not enough.
func TestCacheComparesWholeTokens(t *testing.T) {
	t.Parallel()
	c := newJWTCache(4)
	c.put(&cached{hash: c.hash("one"), token: "two"}, time.Now(), func(*cached) bool { return true })
	if c.find(c.hash("one"), "one") != nil {
		t.Error("another token of the same hash was found")
	}
	if c.find(c.hash("one"), "two") == nil {
		t.Error("the token itself was not found")
	}
}
